package crash

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// TestFlippedBit flips one bit in one file of a data directory whose daemon was stopped, or killed (so
// that logs hold what tables don't yet). The next start may refuse, with an exit code and a message. If
// it starts, every read gives an error or the right bytes, and no name is missing without an error.
func TestFlippedBit(t *testing.T) {
	for end, fn := range map[string]func(*testing.T, *harness.Daemon){
		"stopped": func(t *testing.T, d *harness.Daemon) { d.MustStop(t) },
		"killed": func(_ *testing.T, d *harness.Daemon) {
			time.Sleep(1500 * time.Millisecond) // what was closed is durable within a second
			d.Kill()
		},
	} {
		t.Run(end, func(t *testing.T) {
			dir := harness.TempDir(t)
			pristine := filepath.Join(dir, "pristine")
			want := makeData(t, filepath.Join(dir, "first"), pristine, fn)
			flipMany(t, dir, pristine, want)
		})
	}
}

func flipMany(t *testing.T, dir, pristine string, want map[string][]byte) {
	t.Helper()
	files := dataFiles(t, pristine)
	rng := harness.Rand(t)
	outcomes := map[string]int{}
	for i := range harness.Rounds(len(files)+12, 300) {
		work := filepath.Join(dir, fmt.Sprintf("flip-%d", i))
		data := filepath.Join(work, "data")
		require.NoError(t, os.MkdirAll(work, 0o755))
		harness.Run(t, exec.Command("cp", "-a", "--sparse=always", pristine, data))
		file := files[i%len(files)]
		if i >= len(files) && i%2 == 0 {
			file = largest(t, pristine, files) // where the data is
		}
		where := flip(t, filepath.Join(data, file), rng)
		outcome := judge(t, harness.Options{Dir: work, Data: data, Ready: 20 * time.Second}, want)
		outcomes[outcome]++
		t.Logf("%s %s: %s", file, where, outcome)
		if t.Failed() {
			t.Fatalf("after flipping %s of %s", where, file)
		}
		require.NoError(t, os.RemoveAll(work))
	}
	t.Logf("%v", outcomes)
}

// makeData fills a data directory through both doors, ends its daemon, and copies the directory.
func makeData(t *testing.T, dir, to string, end func(*testing.T, *harness.Daemon)) map[string][]byte {
	t.Helper()
	d := harness.Start(t, harness.Options{Dir: dir})
	d.MakeBucket(t, bucketName)
	b := Bucket{Core: minio.Core{Client: d.Client(t)}, Name: bucketName}
	want := map[string][]byte{}
	for i, size := range []int{0, 10, 1000, 5000, 8192, 9000, 70_000, 1 << 20, 3 << 20} {
		for j := range 8 {
			name := fmt.Sprintf("dir-%d/file-%d", j, i)
			body := harness.Series{Name: name, Min: max(4, size), Max: max(4, size)}.Body(1)[:size]
			if j%2 == 0 {
				require.NoError(t, b.Put(name, body))
			} else {
				require.NoError(t, os.MkdirAll(filepath.Join(d.Mount, bucketName, filepath.Dir(name)), 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(d.Mount, bucketName, name), body, 0o644))
			}
			want[name] = body
		}
	}
	end(t, d)
	harness.Run(t, exec.Command("cp", "-a", "--sparse=always", d.Data, to))
	return want
}

// TestFsckOnlyReads: the check changes nothing, also where a crash left something to repair, and works on
// a read-only mount.
func TestFsckOnlyReads(t *testing.T) {
	dir := harness.TempDir(t)
	d := harness.New(t, harness.Options{Dir: dir})
	makeData(t, dir, filepath.Join(dir, "pristine"), func(_ *testing.T, d *harness.Daemon) { d.Kill() })
	require.NoError(t, d.Fsck())
	// diff(1) takes any two sockets for different: those of the killed daemon.
	harness.Run(t, exec.Command("diff", "-rq", "--exclude=*.sock", d.Data, filepath.Join(dir, "pristine")))
	mount := filepath.Join(dir, "read-only")
	require.NoError(t, os.Mkdir(mount, 0o755))
	require.NoError(t, unix.Mount(d.Data, mount, "", unix.MS_BIND, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(mount, 0)) })
	require.NoError(t, unix.Mount("", mount, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	require.NoError(t, harness.New(t, harness.Options{Dir: filepath.Join(dir, "auditor"), Data: mount}).Fsck())
}

// dataFiles is every file that holds bytes, those in which a bit can matter.
func dataFiles(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		if rel, _ := filepath.Rel(dir, path); len(dataRanges(t, path)) > 0 {
			files = append(files, rel)
		}
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

func largest(t *testing.T, dir string, files []string) string {
	t.Helper()
	return slices.MaxFunc(files, func(a, b string) int {
		return cmp.Compare(total(dataRanges(t, filepath.Join(dir, a))), total(dataRanges(t, filepath.Join(dir, b))))
	})
}

// dataRange is [from, to) of a file outside of its holes; the copies are sparse.
type dataRange struct{ from, to int64 }

func total(ranges []dataRange) (n int64) {
	for _, r := range ranges {
		n += r.to - r.from
	}
	return n
}

func dataRanges(t *testing.T, path string) (ranges []dataRange) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	for at := int64(0); ; {
		from, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return ranges
		}
		require.NoError(t, err)
		at, err = f.Seek(from, unix.SEEK_HOLE)
		require.NoError(t, err)
		ranges = append(ranges, dataRange{from, at})
	}
}

// flip inverts one bit of a byte that is outside of holes: mostly one that isn't zero, sometimes any.
func flip(t *testing.T, path string, rng *rand.Rand) string {
	t.Helper()
	ranges := dataRanges(t, path)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	b, at := make([]byte, 1), int64(0)
	for range 1 + rng.IntN(4)*20 {
		n := rng.Int64N(total(ranges))
		for _, r := range ranges {
			if at = r.from + n; at < r.to {
				break
			}
			n -= r.to - r.from
		}
		_, err = f.ReadAt(b, at)
		require.NoError(t, err)
		if b[0] != 0 {
			break
		}
	}
	bit := byte(1) << rng.IntN(8)
	_, err = f.WriteAt([]byte{b[0] ^ bit}, at)
	require.NoError(t, err)
	return fmt.Sprintf("bit %#02x of byte %d", bit, at)
}

// judge starts a daemon over damaged data and reads everything. It returns what happened.
func judge(t *testing.T, o harness.Options, want map[string][]byte) string {
	t.Helper()
	d, err := harness.NewDaemon(o)
	require.NoError(t, err)
	defer d.Close()
	if err := d.Start(); err != nil {
		if !errors.Is(err, harness.ErrRefused) {
			t.Errorf("must start or refuse with a message: %v", err)
		}
		return "refused"
	}
	outcome := "no effect"
	for _, bad := range []bool{readS3(t, d, want), readMount(t, d, want)} {
		if bad {
			outcome = "an error for what it hit"
		}
	}
	if t.Failed() {
		t.Logf("log:\n%s", d.Log())
	}
	return outcome
}

// hit compares one read with what was written; it reports whether it was an error.
func hit(t *testing.T, door, name string, want, got []byte, err error) bool {
	t.Helper()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.Errorf("%s: %s is silently absent", door, name)
	case err == nil && !bytes.Equal(want, got):
		t.Errorf("%s: %s is served wrong: %d bytes, want %d", door, name, len(got), len(want))
	}
	return err != nil
}

func readS3(t *testing.T, d *harness.Daemon, want map[string][]byte) (bad bool) {
	t.Helper()
	b := Bucket{Core: minio.Core{Client: d.Client(t)}, Name: bucketName}
	var listed []string
	for o := range b.Core.Client.ListObjects(context.Background(), bucketName, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			bad = true
			if code := minio.ToErrorResponse(o.Err).StatusCode; code < 500 {
				t.Errorf("S3 listing: %v", o.Err)
			}
			break
		}
		listed = append(listed, o.Key)
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !bad && !slices.Contains(listed, name) {
			t.Errorf("S3 listing: %s is silently absent", name)
		}
		got, err := b.Get(name)
		if hit(t, "S3", name, want[name], got, err) {
			bad = true
		}
	}
	return bad
}

func readMount(t *testing.T, d *harness.Daemon, want map[string][]byte) (bad bool) {
	t.Helper()
	dir := filepath.Join(d.Mount, bucketName)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		entries, err := os.ReadDir(filepath.Dir(filepath.Join(dir, name)))
		if err == nil && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == filepath.Base(name) }) {
			t.Errorf("mount: %s is silently absent from its directory", name)
		}
		got, err := os.ReadFile(filepath.Join(dir, name))
		if hit(t, "mount", name, want[name], got, err) {
			bad = true
		}
	}
	return bad
}
