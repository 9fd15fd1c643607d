package posix

import "testing"

// How many names files have, and directories subdirectories.
func TestLinkCounts(t *testing.T) {
	onBoth(t, table{
		"files": `
			open f CREAT|RDWR | fstat nlink = 1
			link f g
			link g h
			stat f nlink = 3
			rename f x
			stat x nlink = 3
			rename x g
			stat g nlink = 3
			lstat x type = reg
			unlink x
			stat h nlink = 2
			open other CREAT|RDWR
			link other o2
			rename other h
			stat g nlink = 1
			stat h nlink = 2
			open h RDONLY | unlink h | fstat nlink = 1
			open o2 RDONLY | unlink o2 | fstat nlink = 0
			open g RDONLY | rename g g2 | fstat nlink = 1
			open k CREAT|RDWR
			open g2 RDONLY | rename k g2 | fstat nlink = 0
			open . TMPFILE|RDWR | fstat nlink = 0
			open . TMPFILE|RDWR | linkfd t | fstat nlink = 1
			link t t2
			renameat2 t t2 EXCHANGE
			stat t nlink = 2
			open e CREAT|RDWR
			renameat2 e t EXCHANGE
			stat e nlink = 2
			stat t nlink = 1
			stat t2 nlink = 2
			symlink f s
			link s s2
			lstat s nlink = 2
			rename t s
			lstat s2 nlink = 1`,
		"directories": `
			stat . nlink = 2
			mkdir a 0755
			mkdir b 0755
			stat . nlink = 4
			open a/f CREAT|RDWR
			symlink b a/l
			stat a nlink = 2
			mkdir a/sub 0755
			stat a nlink = 3
			stat a/sub nlink = 2
			rename a/sub b/sub
			stat a nlink = 2
			stat b nlink = 3
			mkdir a/sub 0755
			rename a/sub b/sub
			stat a nlink = 2
			stat b nlink = 3
			rename b/sub b/renamed
			stat b nlink = 3
			renameat2 a/f b/renamed EXCHANGE
			stat a nlink = 3
			stat b nlink = 2
			stat a/f type nlink = dir 2
			open c CREAT|RDWR
			renameat2 a/f c EXCHANGE
			stat a nlink = 2
			stat . nlink = 5
			mkdir a/one 0755
			mkdir b/two 0755
			mkdir b/two/deep 0755
			renameat2 a/one b/two EXCHANGE
			stat a nlink = 3
			stat b nlink = 3
			stat a/one nlink = 3
			stat b/two nlink = 2
			same a/one/.. a = true
			same b/two/.. b = true
			rmdir a/one/deep
			stat a/one nlink = 2
			rmdir a/one
			stat a nlink = 2
			rmdir a = ENOTEMPTY
			rename a b = ENOTEMPTY
			rmdir c
			stat . nlink = 4
			open b/two RDONLY | rmdir b/two | fstat nlink = 0
			stat b nlink = 2`,
	})
}
