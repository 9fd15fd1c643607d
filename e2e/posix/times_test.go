package posix

import "testing"

// Which times of which files a call changes (POSIX.1-2024, each function's "mark for update"), under relatime.
func TestTimes(t *testing.T) {
	onBoth(t, table{
		"names": `
			mkdir d 0755
			times . open f CREAT|RDWR = .:mc
			times .,f open f CREAT|RDWR = .:- f:-
			times . mkdir e 0755 = .:mc
			times . symlink x l = .:mc
			times . mknod p fifo 0644 = .:mc
			times .,f,d link f d/g = .:- f:c d:mc
			times .,d unlink d/g = .:- d:mc
			times f link f d/g = f:c
			times f unlink d/g = f:c
			times .,d mkdir d/sub 0755 = .:- d:mc
			times .,d rmdir d/sub = .:- d:mc
			open g CREAT|RDWR
			link g g2
			times .,g2 rename f g = .:mc g2:c
			times .,g rename g g = .:- g:-
			link g f
			times .,f,g rename f g = .:- f:- g:-
			times .,g unlink none = .:- g:- ENOENT
			times . mkdir d 0755 = .:- EEXIST
			times . rmdir d/none = .:- ENOENT
			# The directories themselves change places; each keeps its own times, but for a new ctime.
			times .,d,e,g renameat2 d e EXCHANGE = .:mc d:am(back)c e:a(back)mc g:-
			times .,d,e rename g d/g = .:mc d:mc e:-
			mkdir d/deep 0755
			times .,d,e,d/deep open d/deep/x CREAT|RDWR = .:- d:- e:- d/deep:mc
			times . open . TMPFILE|RDWR | write x = .:-
			times . open . TMPFILE|RDWR | linkfd t = .:mc`,
		"renamed": `
			open f CREAT|RDWR
			mkdir d 0755
			mkdir to 0755
			times .,to rename f to/f = .:mc to:mc
			times .,to rename d to/d = .:mc to:mc`,
		"contents": `
			open f CREAT|RDWR | write content
			mkdir d 0755
			times f,. open f RDWR | write x = f:mc .:-
			times f open f RDWR | pwrite x 100 = f:mc
			times f open f RDWR | write x | fsync = f:mc
			times f open f RDWR = f:-
			times f open f RDWR|TRUNC = f:mc
			times f open f RDWR|TRUNC = f:mc
			times f open f RDWR | ftruncate 10 = f:mc
			times f truncate f 20 = f:mc
			times f truncate f 5 = f:mc
			times f truncate f -1 = f:- EINVAL
			times f open f RDWR | fallocate 0 100 = f:mc
			times f open f RDWR | write "" = f:-`,
		"reads": `
			open f CREAT|RDWR | write content
			mkdir d 0755
			open d/x CREAT|RDWR
			symlink f l
			utimens f 1.0 1.0
			utimens d 1.0 1.0
			lutimens l 1.0 1.0
			times f,. open f RDONLY | pread 3 0 | fsync = f:a .:-
			utimens f 1.0 1.0
			times f open f RDONLY|NOATIME | read 3 | fsync = f:-
			times f stat f = f:-
			times f access f r = f:-
			times d stat d/x = d:-
			times d getxattr d user.a 1 = d:- ENODATA`,
		"attributes": `
			open f CREAT|RDWR | write content
			mkdir d 0755
			symlink f l
			times f,.,l chmod l 0600 = f:c .:- l:a
			times f chmod f 0600 = f:c
			times d,. chmod d 0700 = d:c .:-
			times f,. chown f 1 1 = f:c .:-
			times f,l lchown l 1 1 = f:- l:c
			times f setxattr f user.a x 0 = f:c
			times f setxattr f user.a x XCREATE = f:- EEXIST
			times f removexattr f user.a = f:c
			times f removexattr f user.a = f:- ENODATA
			times d setxattr d user.a x 0 = d:c
			times f as 1002 chmod f 0644 = f:- EPERM
			times f as 1002 chown f 5 5 = f:- EPERM
			times f as 1002 truncate f 0 = f:- EACCES
			times f utimens f omit omit = f:-
			times f utimens f now omit = f:ac
			times f utimens f omit now = f:mc
			times f utimens f now now = f:amc
			times f,. utimens f 1.0 2.0 = f:a(back)m(back)c .:-
			times l,f lutimens l 1.0 1.0 = l:a(back)m(back)c f:-`,
		"nanoseconds": `
			open f CREAT|RDWR | write content
			mkdir d 0755
			symlink f l
			utimens f 1.000000001 2.999999999
			stat f atime mtime = 1.000000001 2.999999999
			utimens f omit 3.5
			stat f atime mtime = 1.000000001 3.000000005
			utimens f 981173106.123456789 omit
			stat f atime mtime = 981173106.123456789 3.000000005
			utimens d 5.000000007 4102444800.000000001
			stat d atime mtime = 5.000000007 4102444800.000000001
			lutimens l 6.000000001 7.000000002
			lstat l atime mtime = 6.000000001 7.000000002
			stat f mtime = 3.000000005
			utimens f 0.0 0.0
			stat f atime mtime = 0.000000000 0.000000000
			utimens f -1.999999999 -1000000000.1
			stat f atime mtime = -1.999999999 -1000000000.000000001
			utimens f 1.0 1.1000000000 = EINVAL
			rename f g
			link g h
			stat h mtime = -1000000000.000000001`,
	})
}
