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

// setFlags sets or clears the flags of chattr(1).
func setFlags(t *testing.T, path string, flags int) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
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
			const immutable = 0x10
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
