package posix

import "testing"

// What each call refuses, and how, by POSIX.1-2024 and Linux's manual pages.
func TestErrnos(t *testing.T) {
	onBoth(t, table{
		"open": `
			open f RDONLY = ENOENT
			open f RDWR|CREAT|EXCL 0640
			open f RDWR|CREAT|EXCL = EEXIST
			open f RDWR|CREAT | write content
			open f WRONLY | read 1 = EBADF
			open f RDONLY | write x = EBADF
			open f RDONLY | ftruncate 0 = EINVAL
			open f RDONLY | pwrite x 0 = EBADF
			open f PATH | read 1 = EBADF
			open f PATH | write x = EBADF
			open f PATH | ftruncate 0 = EBADF
			open f PATH | fchmod 0600 = EBADF
			open f PATH | fchown 1 1 = EBADF
			open f PATH | fsync = EBADF
			open f PATH | fstat size = 7
			open f PATH|TRUNC
			open f RDWR|APPEND | pwrite more 0
			cat f = "contentmore"
			open f DIRECTORY = ENOTDIR
			open f DIRECTORY|PATH = ENOTDIR
			open f/ RDONLY = ENOTDIR
			open f/x RDONLY = ENOTDIR
			open f/x CREAT|RDWR = ENOTDIR
			open "" RDONLY = ENOENT
			open new/ CREAT|RDWR = EISDIR
			open none/x CREAT|RDWR = ENOENT
			mkdir d 0755
			open d RDONLY | read 1 = EISDIR
			open d RDONLY | getdents
			open d PATH | getdents = EBADF
			open f RDONLY | getdents = ENOTDIR
			open d WRONLY = EISDIR
			open d RDWR = EISDIR
			open d RDONLY|TRUNC = EISDIR
			open d RDONLY|CREAT = EISDIR
			open d/ RDONLY|CREAT = EISDIR
			open d RDWR|CREAT|EXCL = EEXIST
			open d RDONLY|DIRECTORY | fsync
			symlink f toF
			symlink d toD
			symlink nowhere dangling
			symlink loop loop
			open toF RDONLY | read 7 = "content"
			open toF RDONLY|NOFOLLOW = ELOOP
			open toF PATH|NOFOLLOW | fstat type = lnk
			open toD DIRECTORY|NOFOLLOW = ENOTDIR
			open toD/ DIRECTORY|NOFOLLOW
			open toD DIRECTORY
			open toF RDWR|CREAT|EXCL = EEXIST
			open dangling RDWR|CREAT|EXCL = EEXIST
			open dangling RDONLY = ENOENT
			open dangling RDWR|CREAT|NOFOLLOW = ELOOP
			open dangling RDWR|CREAT
			stat nowhere type = reg
			open loop RDONLY = ELOOP
			open loop/x RDONLY = ELOOP
			open f RDONLY|TRUNC
			stat f size = 0
			open f RDWR|TRUNC|CREAT | write abc | lseek 0 0 | read 10 = "abc"
			open f RDWR | lseek -1 0 = EINVAL
			open f RDWR | lseek 0 9 = EINVAL
			open f RDWR | pread 1 -1 = EINVAL
			open f RDWR | pwrite x -1 = EINVAL
			open f RDWR | fallocate -1 1 = EINVAL
			open f RDWR | fallocate 0 0 = EINVAL
			open f RDONLY | fallocate 0 1 = EBADF
			mknod p fifo 0644
			open p WRONLY|NONBLOCK = ENXIO
			open p RDONLY|NONBLOCK | lseek 0 0 = ESPIPE
			open p RDWR|NONBLOCK | write x | read 1 = "x"
			open p RDONLY|DIRECTORY|NONBLOCK = ENOTDIR
			mknod s sock 0644
			open s RDONLY = ENXIO
			open s RDWR = ENXIO
			open s PATH | fstat type = sock
			open . TMPFILE|RDWR | write hidden | linkfd shown
			cat shown = "hidden"
			open . TMPFILE|RDONLY = EINVAL
			open f TMPFILE|RDWR = ENOTDIR
			open . TMPFILE|RDWR|EXCL | linkfd never = ENOENT`,
		"mkdir": `
			mkdir d 0755
			mkdir d 0755 = EEXIST
			mkdir d/ 0755 = EEXIST
			mkdir new/ 0755
			mkdir . 0755 = EEXIST
			mkdir .. 0755 = EEXIST
			mkdir d/. 0755 = EEXIST
			mkdir d/.. 0755 = EEXIST
			mkdir none/. 0755 = ENOENT
			mkdir "" 0755 = ENOENT
			mkdir none/d 0755 = ENOENT
			open f CREAT|RDWR
			mkdir f 0755 = EEXIST
			mkdir f/d 0755 = ENOTDIR
			symlink nowhere l
			mkdir l 0755 = EEXIST
			mkdir l/ 0755 = EEXIST
			mkdir N*255 0755
			mkdir N*256 0755 = ENAMETOOLONG
			mkdir N*256/x 0755 = ENAMETOOLONG
			stat d nlink mode = 2 0755
			mkdir many 7777
			stat many mode = 1755`,
		"rmdir": `
			mkdir d 0755
			mkdir d/sub 0755
			open f CREAT|RDWR
			rmdir d = ENOTEMPTY
			rmdir f = ENOTDIR
			rmdir f/x = ENOTDIR
			rmdir none = ENOENT
			rmdir "" = ENOENT
			rmdir . = EINVAL
			rmdir d/. = EINVAL
			rmdir d/.. = ENOTEMPTY
			rmdir d/sub/.. = ENOTEMPTY
			symlink d l
			rmdir l = ENOTDIR
			rmdir l/ = ENOTDIR
			rmdir N*256 = ENAMETOOLONG
			rmdir l/sub
			open d RDONLY | rmdir d | fstat nlink = 0
			mkdir d 0755
			open d RDONLY | rmdir d | createat x = ENOENT
			mkdir d 0755
			open d RDONLY | rmdir d | getdents = ENOENT
			rmdir d = ENOENT
			stat l type = ENOENT`,
		"unlink": `
			mkdir d 0755
			open f CREAT|RDWR
			unlink d = EISDIR
			unlink d/ = EISDIR
			unlink f/ = ENOTDIR
			unlink f/x = ENOTDIR
			unlink none = ENOENT
			unlink "" = ENOENT
			unlink . = EISDIR
			unlink d/.. = EISDIR
			unlink N*256 = ENAMETOOLONG
			symlink f l
			symlink l2 l2
			unlink l2/x = ELOOP
			unlink l2
			unlink l
			open f RDWR | write x | unlink f | fstat nlink size = 0 1
			unlink f = ENOENT
			mknod p fifo 0644
			mknod s sock 0644
			unlink p
			unlink s
			ls . = ["d"]`,
		"rename": `
			mkdir empty 0755
			mkdir empty2 0755
			mkdir full 0755
			mkdir full/sub 0755
			open full/f CREAT|RDWR
			open f CREAT|RDWR | write one
			open g CREAT|RDWR | write two
			symlink f l
			symlink full ld
			mknod p fifo 0644
			rename none x = ENOENT
			rename /proc/version x = EXDEV
			rename f none/x = ENOENT
			rename "" x = ENOENT
			rename f "" = ENOENT
			rename f empty = EISDIR
			rename l empty = EISDIR
			rename p full = EISDIR
			rename empty f = ENOTDIR
			rename empty l = ENOTDIR
			rename empty p = ENOTDIR
			rename empty ld = ENOTDIR
			rename empty full = ENOTEMPTY
			rename f full = EISDIR
			rename full full/sub/x = EINVAL
			rename full full/x = EINVAL
			rename full full
			rename f f
			rename full/sub full = ENOTEMPTY
			rename f full/sub/.. = EBUSY
			rename . x = EBUSY
			rename full/. x = EBUSY
			rename full/.. x = EBUSY
			rename f . = EBUSY
			rename empty full/.. = EBUSY
			rename f/ x = ENOTDIR
			rename f x/ = ENOTDIR
			rename empty moved/
			rename moved/ empty
			rename f/x y = ENOTDIR
			rename g f/x = ENOTDIR
			rename f N*256 = ENAMETOOLONG
			rename N*256 f = ENAMETOOLONG
			rename f N*255
			rename N*255 f
			rename empty empty2
			rename empty empty2 = ENOENT
			rename f g
			cat g = "one"
			rename g l
			lstat l type = reg
			rename l p
			cat p = "one"
			rename ld p
			readlink p = full
			rename full/f full/sub/f
			rename full/sub/f f
			ls full = ["sub"]`,
		"renameat2": `
			mkdir d 0755
			open d/in CREAT|RDWR
			mkdir e 0755
			open f CREAT|RDWR | write one
			open g CREAT|RDWR | write two
			symlink f l
			renameat2 f g NOREPLACE = EEXIST
			renameat2 f d NOREPLACE = EEXIST
			renameat2 d e NOREPLACE = EEXIST
			renameat2 f f NOREPLACE = EEXIST
			renameat2 none f NOREPLACE = ENOENT
			renameat2 f new NOREPLACE
			renameat2 new f NOREPLACE
			renameat2 f g NOREPLACE|EXCHANGE = EINVAL
			renameat2 f g EXCHANGE|WHITEOUT = EINVAL
			renameat2 f g BOGUS = EINVAL
			renameat2 f none EXCHANGE = ENOENT
			renameat2 none f EXCHANGE = ENOENT
			renameat2 f g EXCHANGE
			cat f = "two"
			renameat2 f d EXCHANGE
			cat d = "two"
			ls f = ["in"]
			renameat2 f e EXCHANGE
			ls e = ["in"]
			renameat2 e e/in EXCHANGE = EINVAL
			renameat2 e/in e EXCHANGE = EINVAL
			mkdir e/sub 0755
			renameat2 e/sub f EXCHANGE
			renameat2 d l EXCHANGE
			readlink d = f
			cat l = "two"
			renameat2 l l EXCHANGE
			renameat2 . f EXCHANGE = EBUSY
			renameat2 e/.. f EXCHANGE = EBUSY`,
		"link": `
			mkdir d 0755
			open f CREAT|RDWR | write one
			link d x = EPERM
			link none x = ENOENT
			link f d = EEXIST
			link f f = EEXIST
			link f . = EEXIST
			link f "" = ENOENT
			link "" x = ENOENT
			link f none/x = ENOENT
			link f f/x = ENOTDIR
			link f/ x = ENOTDIR
			link f x/ = ENOENT
			link f N*256 = ENAMETOOLONG
			link /proc/version x = EXDEV
			symlink f l
			symlink loop loop
			link loop/x y = ELOOP
			link f d/f
			stat f nlink = 2
			same f d/f = true
			link l l2
			lstat l2 type nlink = lnk 2
			linkat l f2 FOLLOW
			lstat f2 type nlink = reg 3
			mknod p fifo 0644
			link p p2
			stat p nlink = 2
			mknod s sock 0644
			link s s2
			stat s2 nlink type = 2 sock
			mknod c chr 0644
			link c c2
			stat c2 nlink rdev = 2 1,3
			linkat . here BOGUS = EINVAL`,
		"symlink": `
			symlink "" l = ENOENT
			symlink x "" = ENOENT
			symlink x .  = EEXIST
			symlink x none/l = ENOENT
			symlink x l
			symlink y l = EEXIST
			readlink l = x
			symlink N*4095 long
			lstat long size nlink mode = 4095 1 0777
			symlink N*4096 longer = ENAMETOOLONG
			symlink x N*256 = ENAMETOOLONG
			symlink "\xff\x01\\" bytes
			lstat bytes size = 3
			open f CREAT|RDWR
			readlink f = EINVAL
			readlink . = EINVAL
			readlink none = ENOENT
			readlink f/x = ENOTDIR
			symlink x f/l = ENOTDIR
			symlink new/ slash
			open slash CREAT|RDWR = EISDIR
			stat l type = ENOENT
			stat long type = ENAMETOOLONG
			symlink b a
			symlink a b
			stat a type = ELOOP
			chmod a 0644 = ELOOP
			chown a 1 1 = ELOOP
			truncate a 0 = ELOOP
			utimens a now now = ELOOP
			mkdir a/d 0755 = ELOOP
			access a r = ELOOP`,
		"names": `
			open "\xff\xfe\n\x01" CREAT|RDWR | write odd
			open "\x20" CREAT|RDWR
			open "back\\slash" CREAT|RDWR
			open "é" CREAT|RDWR
			open "e\u0301" CREAT|RDWR
			open "ABC" CREAT|RDWR
			open "abc" CREAT|RDWR
			open "..." CREAT|RDWR
			mkdir "\xc3" 0755
			cat "\xff\xfe\n\x01" = "odd"
			ls . = [" " "..." "ABC" "\u00e9" "\xc3" "\xff\xfe\n\x01" "abc" "back\\slash" "e\u0301"]
			open N*255 CREAT|RDWR
			open N*256 CREAT|RDWR = ENAMETOOLONG
			open N*256 RDONLY = ENAMETOOLONG
			stat N*255 size = 0
			stat N*256 size = ENAMETOOLONG
			chmod N*256 0644 = ENAMETOOLONG
			chown N*256 0 0 = ENAMETOOLONG
			truncate N*256 0 = ENAMETOOLONG
			utimens N*256 now now = ENAMETOOLONG
			mknod N*256 fifo 0644 = ENAMETOOLONG
			readlink N*256 = ENAMETOOLONG
			stat N*4096 size = ENAMETOOLONG
			stat ./N*255/x size = ENOTDIR`,
		"truncate": `
			mkdir d 0755
			open f CREAT|RDWR | write content
			truncate f -1 = EINVAL
			truncate d 0 = EISDIR
			truncate d -1 = EINVAL
			truncate none 0 = ENOENT
			truncate "" 0 = ENOENT
			truncate f/x 0 = ENOTDIR
			open f RDWR | ftruncate -1 = EINVAL
			open f RDONLY | ftruncate 1 = EINVAL
			open d RDONLY | ftruncate 0 = EINVAL
			mknod p fifo 0644
			truncate p 0 = EINVAL
			mknod s sock 0644
			truncate s 0 = EINVAL
			truncate f 3
			truncate f 6
			cat f = "con\x00\x00\x00"
			open f RDWR | ftruncate 2 | lseek 0 2 = 2
			truncate f 0
			stat f size = 0
			truncate f 0x7fffffffffffffff = EFBIG`,
		"mknod": `
			mknod p fifo 0666
			mknod p fifo 0666 = EEXIST
			mknod s sock 0777
			mknod c chr 0600
			mknod b blk 0600
			mknod r reg 0640
			mknod d dir 0755 = EPERM
			mknod l lnk 0777 = EINVAL
			mknod none/x fifo 0644 = ENOENT
			mknod r/x fifo 0644 = ENOTDIR
			mknod "" fifo 0644 = ENOENT
			stat p type mode = fifo 0644
			stat s type mode = sock 0755
			stat c type mode rdev = chr 0600 1,3
			stat b type mode rdev = blk 0600 1,3
			stat r type mode size = reg 0640 0
			chmod . 0777
			as 1001 mknod mine fifo 0644
			as 1001 mknod sock sock 0644
			as 1001 mknod reg reg 0644
			as 1001 mknod chr chr 0644 = EPERM
			as 1001 mknod blk blk 0644 = EPERM
			stat mine ids = 1001:1001`,
		"xattrs": `
			open f CREAT|RDWR
			mkdir d 0755
			getxattr f user.a 10 = ENODATA
			removexattr f user.a = ENODATA
			setxattr f user.a one XREPLACE = ENODATA
			setxattr f user.a one XCREATE
			setxattr f user.a two XCREATE = EEXIST
			setxattr f user.a three XREPLACE
			getxattr f user.a 10 = three
			getxattr f user.a 0 = 5
			getxattr f user.a 4 = ERANGE
			setxattr f user.a x XCREATE|XREPLACE = EEXIST
			setxattr f user.a x BOGUS = EINVAL
			setxattr f user. x 0 = EINVAL
			setxattr f bogus.a x 0 = ENOTSUP
			setxattr f user.N*250 x 0
			setxattr f user.N*251 x 0 = ERANGE
			setxattr f user.big N*65537 0 = E2BIG
			setxattr none user.a x 0 = ENOENT
			setxattr f/x user.a x 0 = ENOTDIR
			setxattr d user.a x 0
			getxattr d user.a 3 = x
			mknod p fifo 0666
			setxattr p user.a x 0 = EPERM
			setxattr p trusted.a x 0
			removexattr f user.a
			getxattr f user.a 10 = ENODATA`,
	})
}
