package posix

import "testing"

// Who may do what, and what becomes of modes and owners.
func TestPermissions(t *testing.T) {
	onBoth(t, table{
		"bits": `
			mkdir d 0777
			chmod d 0777
			as 1001:2001 open d/f CREAT|RDWR 0640 | write secret
			stat d/f mode ids = 0640 1001:2001
			as 1001 open d/f RDWR
			as 1002:2001 open d/f RDONLY
			as 1002:2001 open d/f WRONLY = EACCES
			as 1002:1002,2001 open d/f RDONLY
			as 1002:1002,7,8,2001 open d/f RDONLY
			as 1002:1002,7,8 open d/f RDONLY = EACCES
			as 1002 open d/f RDONLY = EACCES
			as 1002 open d/f PATH
			as 1002 truncate d/f 0 = EACCES
			as 1002 access d/f r = EACCES
			as 1002 access d/f f
			as 1001 access d/f x = EACCES
			access d/f x = EACCES
			access d/f rw
			chmod d/f 0007
			as 1001 open d/f RDONLY = EACCES
			as 1002:2001 open d/f RDONLY = EACCES
			as 1003 open d/f RDWR
			chmod d/f 0070
			as 1002:2001 open d/f RDWR
			as 1003 open d/f RDONLY = EACCES
			chmod d/f 0000
			open d/f RDWR
			as 1001 chmod d/f 0400
			as 1001 open d/f RDONLY|TRUNC = EACCES
			as 1001 open d/f RDONLY | read 6 = "secret"
			as 1001 open d/new CREAT|EXCL|RDWR 0000 | write x
			as 1001 open d/new RDONLY = EACCES`,
		"directories": `
			mkdir d 0755
			mkdir d/sub 0755
			open d/sub/f CREAT|RDWR 0666 | write x
			chmod d/sub/f 0666
			chmod d 0744
			as 1001 ls d = ["sub"]
			as 1001 stat d/sub type = EACCES
			as 1001 open d/sub/f RDONLY = EACCES
			as 1001 open d/new CREAT|RDWR = EACCES
			as 1001 mkdir d/sub/x 0755 = EACCES
			as 1001 rename d/sub/f d/f = EACCES
			as 1001 link d/sub/f x = EACCES
			as 1001 chmod d/sub/f 0644 = EACCES
			as 1001 readlink d/sub/f = EACCES
			as 1001 chdir d/sub = EACCES
			chmod d 0711
			as 1001 ls d = EACCES
			as 1001 open d RDONLY = EACCES
			as 1001 open d PATH
			as 1001 open d/sub/f RDWR
			as 1001 ls d/sub = ["f"]
			as 1001 open d/new CREAT|RDWR = EACCES
			as 1001 open d/sub RDONLY|CREAT = EISDIR
			as 1001 mkdir d/new 0755 = EACCES
			as 1001 mkdir d/sub 0755 = EEXIST
			as 1001 mknod d/new fifo 0644 = EACCES
			as 1001 symlink x d/new = EACCES
			as 1001 link d/sub/f d/new = EACCES
			as 1001 unlink d/sub/f = EACCES
			as 1001 unlink d/sub/none = ENOENT
			as 1001 rmdir d/sub = EACCES
			as 1001 rename d/sub d/x = EACCES
			as 1001 open d TMPFILE|RDWR = EACCES
			chmod d 0733
			as 1001 open d/mine CREAT|RDWR 0600
			as 1001 rename d/mine d/yours
			as 1001 rename d/sub d/theirs
			stat d/theirs nlink = 2
			as 1001 mkdir d/own 0700
			as 1001 rename d/theirs d/own/x = EACCES
			as 1001 rename d/own d/theirs/x = EACCES
			as 1001 rename d/own d/moved
			as 1001 unlink d/yours
			as 1001 rmdir d/moved
			chmod d 0722
			as 1001 open d/blind CREAT|RDWR = EACCES`,
		"sticky": `
			mkdir tmp 0777
			chmod tmp 1777
			mkdir free 0777
			chmod free 0777
			as 1001 open tmp/f CREAT|RDWR 0666
			as 1001 open tmp/g CREAT|RDWR 0666
			as 1001 mkdir tmp/d 0777
			as 1002 open tmp/h CREAT|RDWR 0666
			as 1002 mkdir tmp/e 0777
			as 1002 open free/x CREAT|RDWR
			as 1002 unlink tmp/f = EPERM
			as 1002 rmdir tmp/d = EPERM
			as 1002 rename tmp/f tmp/x = EPERM
			as 1002 rename tmp/f free/f = EPERM
			as 1002 rename tmp/d free/d = EPERM
			as 1002 rename tmp/h tmp/f = EPERM
			as 1002 rename free/x tmp/f = EPERM
			as 1002 rename tmp/e tmp/d = EPERM
			as 1002 renameat2 tmp/h tmp/f EXCHANGE = EPERM
			as 1002 renameat2 tmp/f tmp/h EXCHANGE = EPERM
			as 1001 rename tmp/g tmp/f
			as 1001 rename tmp/f free/f
			as 1002 rename free/f free/mine
			as 1001 rename free/mine tmp/back
			as 1001 unlink tmp/back
			as 1001 rmdir tmp/d
			as 1002 open tmp/h RDWR
			unlink tmp/h
			chown tmp 1003 1003
			as 1003 rmdir tmp/e
			as 1001 open tmp/f CREAT|RDWR
			as 1003 unlink tmp/f`,
		"chmod": `
			open f CREAT|RDWR 0644
			chown f 1001 2001
			as 1002 chmod f 0600 = EPERM
			as 1002:2001 chmod f 0600 = EPERM
			as 1001:2001 chmod f 6755
			stat f mode = 6755
			as 1001:1001 chmod f 6755
			stat f mode = 4755
			as 1001:1001,2001 chmod f 2755
			stat f mode = 2755
			as 1001 chmod f 1644
			stat f mode = 1644
			chmod f 7777
			stat f mode = 7777
			as 1002 open f RDWR | fchmod 0600 = EPERM
			as 1001:2001 open f RDWR | fchmod 0600
			stat f mode = 0600
			mkdir d 0755
			chown d 1001 2001
			as 1001 chmod d 3770
			stat d mode = 1770
			as 1001:2001 chmod d 3770
			stat d mode = 3770
			symlink f l
			chmod l 0640
			stat f mode = 0640
			lstat l mode = 0777
			chmod none 0644 = ENOENT
			chmod f/x 0644 = ENOTDIR`,
		"chown": `
			open f CREAT|RDWR 0644
			chown f 1001 1001
			as 1001 chown f 1002 -1 = EPERM
			as 1001 chown f 1001 -1
			as 1001 chown f -1 1001
			as 1001 chown f -1 2001 = EPERM
			as 1001:1001,2001 chown f -1 2001
			stat f ids = 1001:2001
			as 1001:1001,2001 chown f 1001 1001
			as 1002 chown f -1 1002 = EPERM
			as 1002 chown f -1 -1
			as 1002 open f RDONLY | fchown 1002 -1 = EPERM
			as 1001:1001,5 open f RDONLY | fchown -1 5
			stat f ids = 1001:5
			symlink f l
			chown l 7 8
			stat f ids = 7:8
			lstat l ids = 0:0
			lchown l 9 10
			lstat l ids = 9:10
			stat f ids = 7:8
			mkdir d 0755
			chown d 1001 1001
			as 1001:1001,6 chown d -1 6
			stat d ids = 1001:6
			chown none 1 1 = ENOENT
			chown f 4294967294 4294967294
			stat f ids = 4294967294:4294967294
			chown f -1 3
			stat f ids = 4294967294:3`,
		"set-id bits": `
			mkdir d 0777
			chmod d 0777
			open d/f CREAT|RDWR 0777 | write content
			chown d/f 1001 1001
			chmod d/f 6777
			open d/f WRONLY | write x
			stat d/f mode = 6777
			as 1001 open d/f WRONLY | write x
			stat d/f mode = 0777
			chmod d/f 6777
			as 1002 open d/f WRONLY | write x
			stat d/f mode = 0777
			chmod d/f 6777
			as 1002 truncate d/f 3
			stat d/f mode = 0777
			chmod d/f 6777
			as 1002 open d/f WRONLY|TRUNC
			stat d/f mode = 0777
			chmod d/f 6777
			as 1002 open d/f WRONLY | ftruncate 2
			stat d/f mode = 0777
			chmod d/f 6777
			truncate d/f 1
			stat d/f mode = 6777
			chown d/f 1001 1001
			stat d/f mode = 0777
			chmod d/f 6777
			as 1001:1001,2001 chown d/f -1 2001
			stat d/f mode = 0777
			chmod d/f 6766
			chown d/f 1001 2001
			stat d/f mode = 2766
			chmod d/f 2745
			chown d/f -1 1001
			stat d/f mode = 2745
			mkdir d/dir 0755
			chmod d/dir 6755
			chown d/dir 1001 1001
			stat d/dir mode = 6755`,
		"set-group-id directories": `
			mkdir d 0777
			chown d 0 2001
			chmod d 2777
			as 1001 open d/f CREAT|RDWR 0666
			stat d/f ids mode = 1001:2001 0644
			as 1001 mkdir d/sub 0755
			stat d/sub ids mode = 1001:2001 2755
			as 1001 mkdir d/sub/sub 0700
			stat d/sub/sub ids mode = 1001:2001 2700
			as 1001 symlink x d/l
			lstat d/l ids = 1001:2001
			as 1001 mknod d/p fifo 0644
			stat d/p ids = 1001:2001
			as 1001 open d/s CREAT|RDWR 2755
			stat d/s ids mode = 1001:2001 0755
			as 1001:1001,2001 open d/s2 CREAT|RDWR 2755
			stat d/s2 mode = 2755
			as 1001 open d TMPFILE|RDWR 0644 | fstat ids = 1001:2001
			mkdir plain 0777
			chown plain 0 2001
			chmod plain 0777
			as 1001 open plain/f CREAT|RDWR
			stat plain/f ids = 1001:1001
			rename d/f plain/g
			stat plain/g ids = 1001:2001`,
		"umask": `
			umask 077
			open f CREAT|RDWR 0666
			stat f mode = 0600
			mkdir d 0777
			stat d mode = 0700
			mknod p fifo 0666
			stat p mode = 0600
			symlink x l
			lstat l mode = 0777
			umask 0
			open g CREAT|RDWR 0666
			stat g mode = 0666
			mkdir e 1777
			stat e mode = 1777
			umask 027
			open h CREAT|RDWR 6777
			stat h mode = 6750
			open f CREAT|RDWR 0777
			stat f mode = 0600
			chmod f 0666
			stat f mode = 0666
			umask 0777
			open none CREAT|RDWR 0777 | write x
			stat none mode = 0000`,
		"utimensat": `
			open f CREAT|RDWR 0644
			chown f 1001 1001
			as 1001 utimens f 1.5 2.5
			as 1001 utimens f now now
			as 1002 utimens f now now = EACCES
			as 1002 utimens f 1.0 2.0 = EPERM
			as 1002 utimens f now omit = EPERM
			as 1002 utimens f omit now = EPERM
			as 1002 utimens f omit omit
			chmod f 0666
			as 1002 utimens f now now
			as 1002 utimens f 1.0 2.0 = EPERM
			as 1002 utimens f now omit = EPERM
			as 1002 utimens f now 2.0 = EPERM
			chmod f 0000
			as 1001 utimens f now now
			as 1001 utimens f 1.0 2.0
			symlink f l
			as 1001 lutimens l now now
			as 1001 lutimens l 1.0 2.0 = EPERM
			as 1001 utimens l now now
			utimens f 1.1000000000 2.0 = EINVAL
			utimens none now now = ENOENT
			utimens f/x now now = ENOTDIR
			utimens none omit omit`,
		"others": `
			open f CREAT|RDWR 0644
			open wide CREAT|RDWR 0666
			chmod wide 0666
			symlink f l
			chmod . 0777
			as 1001 readlink l = f
			as 1001 link wide x
			as 1001 setxattr wide user.a x 0
			as 1001 setxattr f user.a x 0 = EACCES
			as 1001 removexattr f user.a = EACCES
			as 1001 getxattr f user.a 1 = ENODATA
			chmod f 0600
			as 1001 getxattr f user.a 1 = EACCES
			as 1001 setxattr wide trusted.a x 0 = EPERM
			as 1001 getxattr wide trusted.a 1 = ENODATA
			as 1001 open f RDONLY|NOATIME = EACCES
			chmod f 0644
			as 1001 open f RDONLY|NOATIME = EPERM
			as 1001 unlink f
			chmod . 0755`,
	})
}
