package posix

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

const immutable, appendOnly = 0x10, 0x20

// setFlags sets these two of the flags of chattr(1).
func setFlags(t *testing.T, path string, flags int) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	other, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS) // ext4 has some of its own
	require.NoError(t, err)
	flags |= other &^ (immutable | appendOnly)
	require.NoError(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags))
}

// TestImmutableWhileOpen: what was written before a file becomes immutable is kept, also by the one who still has it
// open; what is written then is refused, and nothing of it is left. ext4 refuses the write itself. So do we without the
// write-back cache; with it the write is refused when it is written back, by fsync or close.
func TestImmutableWhileOpen(t *testing.T) {
	d, ours := bucket(t)
	disk := harness.NewDisk(t, "ext4", 64<<20)
	for _, fs := range []struct {
		name, dir string
		cached    bool
	}{{"ext4", disk.Dir, false}, {"k3fs", ours, true}} {
		t.Run(fs.name, func(t *testing.T) {
			path := filepath.Join(fs.dir, "f")
			f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
			require.NoError(t, err)
			defer f.Close()
			_, err = f.WriteString("before")
			require.NoError(t, err)
			setFlags(t, path, immutable)
			require.NoError(t, f.Sync())
			_, err = f.WriteString("after")
			if fs.cached {
				require.NoError(t, err)
				err = f.Sync()
			}
			require.ErrorIs(t, err, unix.EPERM)
			require.ErrorIs(t, f.Truncate(1), unix.EPERM)
			_ = f.Close()
			require.Eventually(t, func() bool { // RELEASE is not waited for
				text, err := os.ReadFile(path)
				require.NoError(t, err)
				st, err := os.Stat(path)
				require.NoError(t, err)
				return string(text) == "before" && st.Size() == int64(len(text))
			}, 30*time.Second, 10*time.Millisecond)
			_, err = os.OpenFile(path, os.O_WRONLY, 0)
			require.ErrorIs(t, err, unix.EPERM)
			setFlags(t, path, 0)
		})
	}
	object, err := d.Client(t).GetObject(bg, "posix", "f", minio.GetObjectOptions{})
	require.NoError(t, err)
	text := make([]byte, 100)
	n, _ := object.Read(text)
	require.Equal(t, "before", string(text[:n]))
}

// TestAppendOnlyWhileOpen: a log that becomes append-only goes on, by whomever has it open.
func TestAppendOnlyWhileOpen(t *testing.T) {
	_, ours := bucket(t)
	disk := harness.NewDisk(t, "ext4", 64<<20)
	for name, dir := range map[string]string{"ext4": disk.Dir, "k3fs": ours} {
		for how, flag := range map[string]int{"append": os.O_APPEND, "write": 0} {
			t.Run(name+"/"+how, func(t *testing.T) {
				path := filepath.Join(dir, how)
				f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|flag, 0o644)
				require.NoError(t, err)
				defer f.Close()
				_, err = f.WriteString("before")
				require.NoError(t, err)
				setFlags(t, path, appendOnly)
				defer setFlags(t, path, 0)
				require.NoError(t, f.Sync())
				for _, more := range []string{", after", ", later"} {
					_, err = f.WriteString(more)
					require.NoError(t, err)
					require.NoError(t, f.Sync())
				}
				require.ErrorIs(t, f.Truncate(1), unix.EPERM)
				require.NoError(t, f.Close())
				text, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, "before, after, later", string(text))
			})
		}
	}
}
