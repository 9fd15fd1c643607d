package posix

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

// prelude is what the lines of the scripts below may call.
const prelude = `
export LC_ALL=C
umask 022
as() { id=$1; shift; setpriv --reuid "$id" --regid "$id" --clear-groups "$@"; }
mode() { stat -c '%n %a %u %g' "$@"; }
flags() { for f in "$@"; do echo "$f $(lsattr -d "$f" | cut -d' ' -f1 | tr -d 'e-')"; done; }
acls() { find "$@" | sort | xargs getfacl -nP; }
zeros() { head -c "$1" /dev/zero | tr '\0' x; }
`

// likeExt4 runs each line of a script by a shell in a directory of the mount and in one of ext4, and compares
// what it says, errors included, and its exit status.
func likeExt4(t *testing.T, script string) {
	harness.NeedTools(t, "setfacl", "getfacl", "setfattr", "getfattr", "chattr", "lsattr", "setpriv", "setcap", "rsync")
	_, ours := bucket(t)
	disk := harness.NewDisk(t, "ext4", 64<<20)
	theirs := filepath.Join(disk.Dir, "posix")
	require.NoError(t, os.Mkdir(theirs, 0o755))
	for _, dir := range []string{ours, theirs} {
		t.Cleanup(func() { _ = exec.Command("chattr", "-R", "-f", "-i", "-a", dir).Run() })
	}
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		want, got := shell(theirs, line), shell(ours, line)
		if want != got {
			t.Errorf("%s\next4: %s\nk3fs: %s", line, want, got)
		}
	}
}

func shell(dir, line string) string {
	cmd := exec.Command("sh", "-c", prelude+line)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out) + err.Error()
	}
	return string(out)
}

func TestXattrsLikeExt4(t *testing.T) {
	likeExt4(t, `
		touch f && mkdir d sticky && chmod 1777 sticky && ln -s f l && mkfifo p && ln -s nowhere dangling
		chmod 777 d && chown 1001:1001 f
		setfattr -n user.a -v 1 f && setfattr -n user.b f && setfattr -n trusted.t -v secret f && setfattr -n security.x -v y f
		getfattr -d -m - f
		as 1001 getfattr -d -m - f
		as 1002 getfattr -d -m - f
		as 1001 getfattr -n trusted.t f
		as 1001 setfattr -n trusted.t -v x f
		as 1001 setfattr -n security.x -v x f
		as 1002 setfattr -n user.a -v x f
		as 1002 getfattr -n user.a f
		chmod 600 f && as 1002 getfattr -n user.a f
		as 1001 setfattr -n user.a -v 2 f && as 1001 getfattr -n user.a f
		for n in user user. system.x system. bogus.x trusted. security. user.é; do setfattr -n $n -v 1 f; done; getfattr -d -m - f
		for n in user. system.x bogus.x user.none; do getfattr -n $n f; setfattr -x $n f; done
		setfattr -n user.$(zeros 250) -v 1 f; getfattr -d f | wc -c
		setfattr -n user.$(zeros 251) -v 1 f
		for x in l dangling p; do setfattr -h -n user.x -v 1 $x; getfattr -h -n user.x $x; setfattr -h -x user.x $x; done
		for x in l dangling p; do setfattr -h -n trusted.x -v 1 $x; getfattr -h -n trusted.x $x; setfattr -h -x trusted.x $x; done
		as 1001 setfattr -n user.x -v 1 sticky; as 1001 setfattr -n user.x -v 1 d && getfattr -d d
		python3 -c 'import os; os.setxattr("f", "user.a", b"", os.XATTR_CREATE)' 2>&1 | tail -n1
		python3 -c 'import os; os.setxattr("f", "user.new", b"", os.XATTR_REPLACE)' 2>&1 | tail -n1
		python3 -c 'import os; os.setxattr("f", "user.new", b"x"*65537)' 2>&1 | tail -n1
		python3 -c 'import os; os.setxattr("f", "user.new", b"", 7)' 2>&1 | tail -n1
		cp -a f g && getfattr -d -m - g
		mkdir r && rsync -aX --checksum f d r/ && getfattr -d -m - r/f r/d
		rsync -aX --checksum --itemize-changes f d r/
		setfattr -x user.b f && rsync -aX f r/ && getfattr -d -m - r/f
		tar --xattrs --xattrs-include='*' -cf t.tar f && mkdir x && tar --xattrs --xattrs-include='*' -xf t.tar -C x && getfattr -d -m - x/f
		cp /bin/true prog && setcap cap_net_raw+ep prog && getcap prog
		as 1001 sh -c 'echo >>prog'; getcap prog; echo >>prog; getcap prog
		setcap cap_net_raw+ep prog && chown 1001 prog && getcap prog
		setcap cap_net_raw+ep prog && truncate -s 5 prog && getcap prog
		as 1001 setcap cap_net_raw+ep prog
		mv f f2 && getfattr -d -m - f2 && ln f2 f3 && setfattr -n user.z -v 9 f3 && getfattr -n user.z f2
		echo new >n && mv n f2 && getfattr -d -m - f2 f3`)
}

func TestACLsLikeExt4(t *testing.T) {
	likeExt4(t, `
		touch f && mkdir d && chown 1000:1000 f d && chmod 640 f && chmod 750 d
		getfacl -n f d; getfattr -d -m - f d
		setfacl -m u:1001:rw f && getfacl -n f && mode f && ls -ln f | cut -c1-11
		echo hello >f; as 1001 cat f; as 1002 cat f; as 1001 sh -c 'echo more >>f'; as 1001 chmod 777 f; as 1001 setfacl -m u:1002:rw f
		chmod g-w f && getfacl -n f; as 1001 sh -c 'echo more >>f'
		chmod 660 f && getfacl -n f && setfacl -m m::r f && mode f && getfacl -n f
		chmod 4777 f; as 1000 setfacl -m u:1003:r f; mode f
		chgrp 5 f; chmod 2770 f; mode f; as 1000 setfacl -m u:1003:rwx f; mode f
		setfacl -x u:1001 f && getfacl -n f && setfacl -b f && getfacl -n f && mode f && getfattr -d -m - f
		setfacl -m u::r,g::rw,o::x f && mode f && getfattr -d -m - f
		setfacl -m u:1001:- f; chmod 666 f; as 1001 cat f; as 1002 cat f >/dev/null
		setfacl -m g:1005:rw f && as 1005 sh -c 'echo g >>f'; chmod 600 f; as 1005 sh -c 'echo g >>f'
		setfacl -d -m u:1001:rwx f
		setfacl -d -m u:1001:rwx d && getfacl -n d && mode d
		umask 077; touch d/file; mkdir d/dir; mkfifo d/fifo; ln -s x d/link; mode d/*; getfacl -nP d/*
		umask 0; touch d/file0; mkdir d/dir0; cp /bin/true d/true; mode d/*; getfacl -n d/file0 d/dir0 d/true
		mkdir -m 700 d/dir0/private; install -m 600 /dev/null d/dir0/secret; mknod d/dir0/node p; getfacl -n d/dir0/*
		python3 -c 'import os; os.close(os.open("d/exact", os.O_CREAT, 0o604))'; getfacl -n d/exact
		setfacl -d -m u::rwx,g::r,o::- d/dir && touch d/dir/three && mkdir d/dir/sub && getfacl -n d/dir/three d/dir/sub
		setfacl -k d/dir && umask 027 && touch d/dir/plain && mode d/dir/plain
		setfacl -d --set u::rwx,g::rwx,o::rwx d/dir && umask 077 && touch d/dir/open && mkdir d/dir/opendir && mode d/dir/open d/dir/opendir && getfacl -n d/dir/open d/dir/opendir
		setfacl -R -m u:1009:rX d && acls d
		setfacl -R -d -m g:1010:rwx d && acls d
		chmod 2750 d; touch d/setgid; mkdir d/setgiddir; mode d/setgid d/setgiddir; getfacl -n d/setgiddir
		cp -p f g && getfacl -n g; cp -a d e && acls e; mkdir r && rsync -aAX d r/ && acls r
		mv d/file0 . && getfacl -n file0 && ln file0 file1 && setfacl -m u:1:r file1 && getfacl -n file0
		setfacl -R -b d && acls d
		getfacl -nR e >saved; setfacl -R -b e; setfacl --restore=saved; rm saved; acls e
		setfacl -m u:1001:rwx l; ln -s f l; setfacl -m u:1001:rwx l; getfacl -n f
		mkdir closed && chmod 700 closed && echo x >closed/x && as 1001 cat closed/x; setfacl -m u:1001:x closed && as 1001 cat closed/x; as 1001 ls closed
		setfacl -m u:1001:rwx closed && as 1001 touch closed/new && as 1001 rm closed/x; mode closed/*
		as 1001 sh -c 'mkdir closed/mine && setfacl -m u:1002:rwx closed/mine && getfacl -n closed/mine'
		as 1002 touch closed/mine/no; chmod o+x closed; setfacl -m m::rwx closed; as 1002 touch closed/mine/yes; ls closed/mine
		chown 1002 closed/mine && getfacl -n closed/mine
		python3 -c 'import os; os.setxattr("f", "system.posix_acl_access", b"\2\0\0\0")'; getfacl -n f
		for v in 0x 0x02 0x01000000 0x02000000ff 0x0200000001000600ffffffff 0x0200000001000600ffffffff04000400ffffffff20000900ffffffff 0x0200000001000600ffffffff04000400ffffffff20000400ffffffff; do setfattr -n system.posix_acl_access -v $v f; done; getfacl -n f
		setfattr -n system.posix_acl_access -v 0x0200000001000600ffffffff020007000100000004000400ffffffff20000400ffffffff f
		setfattr -n system.posix_acl_access -v 0x0200000004000400ffffffff01000600ffffffff20000400ffffffff f
		setfattr -x system.posix_acl_access f; setfattr -x system.posix_acl_access f; setfattr -x system.posix_acl_default f; setfattr -x system.posix_acl_default closed`)
}

func TestFlagsLikeExt4(t *testing.T) {
	likeExt4(t, `
		echo one >f; echo one >a; echo one >n; mkdir d da; echo x >d/x; echo x >da/x; mkdir d/sub da/sub; ln f hard; chown 1001 n
		flags f d; chattr +d n; flags n; as 1001 chattr -d n; flags n; as 1002 chattr +d n; as 1001 chattr +i n; as 1001 chattr +a n; flags n
		chattr +A n; flags n; chattr =d n; flags n; chattr -d n; flags n
		chattr +i f d; chattr +a a da; flags f hard a d da
		echo two >f; echo two >>f; truncate -s 0 f; rm -f f; mv f f2; mv n f; ln f f3; chmod 600 f; chown 1 f; touch f; touch -d 2001-01-01 f; touch -m -d 2001-01-01 f; cat f
		setfattr -n user.x -v 1 f; setfacl -m u:1:r f; rm -f hard; echo two >hard; mv hard h2; fallocate -l 100 f; cp n f; dd if=/dev/zero of=f conv=notrunc count=1 2>&1 | head -n1
		cat f; stat -c '%s %h' f
		echo two >a; echo two >>a; truncate -s 0 a; truncate -s 100 a; rm -f a; mv a a2; mv n a; ln a a3; chmod 600 a; chown 1 a; touch a; touch -d 2001-01-01 a; cat a
		python3 -c 'import os; os.open("a", os.O_WRONLY)' 2>&1 | tail -n1; python3 -c 'import os; os.open("a", os.O_WRONLY|os.O_APPEND|os.O_TRUNC)' 2>&1 | tail -n1
		python3 -c 'import os; os.open("f", os.O_RDWR)' 2>&1 | tail -n1; python3 -c 'import os; os.open("f", os.O_RDONLY|os.O_TRUNC)' 2>&1 | tail -n1
		setfattr -n user.x -v 1 a; setfacl -m u:1:r a; for i in 1 2 3; do echo $i >>a; done; cat a; as 1001 sh -c 'echo four >>a'
		touch d/new; mkdir d/newdir; ln -s x d/link; mkfifo d/p; ln n d/n; mv n d/n; rm -f d/x; mv d/x x; mv d/x d/y; rmdir d/sub; echo more >>d/x; cat d/x; chmod 700 d; rm -rf d 2>&1 | sort; mv d d2; touch d/sub/ok && ls d d/sub
		touch da/new; mkdir da/newdir; ln -s x da/link; ln n da/n; rm -f da/x; mv da/x x; mv da/x da/y; mv n da/x; rmdir da/sub; echo more >>da/x; cat da/x; chmod 700 da; rm -rf da 2>&1 | sort; mv da da2; mv n da/moved && ls da
		echo n >n; python3 -c 'import ctypes; l = ctypes.CDLL(None, use_errno=True); r = l.renameat2(-100, b"n", -100, b"f", 2); print(r, ctypes.get_errno())'
		python3 -c 'import ctypes; l = ctypes.CDLL(None, use_errno=True); r = l.renameat2(-100, b"n", -100, b"da/x", 2); print(r, ctypes.get_errno())'
		lsattr -R . | sed 's/^\([^ ]*\)/x/' | sort
		as 1001 chattr -i f; chattr -i f d && chattr -a a da; flags f a d da
		echo two >f && rm a hard && chmod 700 d && rm -r d da && ls
		mkdir p && chattr +dA p && touch p/file && mkdir p/dir && ln -s x p/l && chattr +ia p/file && flags p p/file p/dir
		touch w && python3 -c 'import os, subprocess; f = os.open("w", os.O_WRONLY); os.write(f, b"before"); subprocess.check_call(["chattr", "+i", "w"]); os.close(f)'; cat w; flags w; chattr -i w
		cp -a f g; chattr +i g; rm -f g; chattr -i g; rm g`)
}
