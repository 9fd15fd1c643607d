package fusefs

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The mount path measured beside the same disk's own file system and go-fuse's loopback over it:
//
//	go test ./fusefs -run '^$' -bench Mount -benchtime 1x
//
// memory is the mount over memFS, which is what the FUSE layer alone costs.
var (
	benchDir   = flag.String("bench.dir", "", "directory on the disk to measure (default: a temporary one)")
	benchOnly  = flag.String("bench.only", "", "comma-separated names of the file systems to measure")
	benchLoop  = flag.String("bench.loopback", "", "go-fuse's example/loopback, built")
	benchFiles = flag.Int("bench.files", 20000, "files in the benchmarks of names")
	benchData  = flag.Int64("bench.data", 2<<30, "bytes in the sequential benchmarks")
	benchRows  = flag.String("bench.rows", "", "comma-separated names of the rows to run")
)

// target is a file system under measurement.
type target struct {
	name  string
	start func(b *testing.B) (dir string, pid int) // pid 0: the kernel's own
}

func targets() []target {
	all := []target{{"ext4", func(b *testing.B) (string, int) { return workDir(b), 0 }}}
	for _, kind := range []string{"memory", "namespace"} {
		all = append(all, target{kind, func(b *testing.B) (string, int) {
			d := startDaemon(b, kind, workDir(b))
			return d.dir, d.cmd.Process.Pid
		}})
	}
	if *benchLoop != "" {
		all = append(all, target{"loopback", startLoopback})
	}
	return all
}

func workDir(b *testing.B) string {
	dir, err := os.MkdirTemp(*benchDir, "fusefs-bench-")
	require.NoError(b, err)
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func startLoopback(b *testing.B) (string, int) {
	below, dir := workDir(b), b.TempDir()
	cmd := exec.Command(*benchLoop, "-q", dir, below)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		require.NoError(b, unix.Unmount(dir, 0))
		_ = cmd.Wait()
	})
	waitMounted(b, dir)
	return dir, cmd.Process.Pid
}

// row is one measurement: prepare's result is run's dir; run returns what was done, in the unit.
type row struct {
	name, unit string
	run        func(b *testing.B, dir string) float64
}

var rows = []row{
	{"create", "1/s", func(b *testing.B, dir string) float64 {
		each(b, func(i int) error {
			f, err := os.OpenFile(name(dir, i), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
			if err != nil {
				return err
			}
			return f.Close()
		})
		return float64(*benchFiles)
	}},
	{"stat", "1/s", func(b *testing.B, dir string) float64 {
		each(b, func(i int) error { var st unix.Stat_t; return unix.Stat(name(dir, i), &st) })
		return float64(*benchFiles)
	}},
	{"readdir", "names/s", func(b *testing.B, dir string) float64 {
		n := 0
		for range 5 {
			d, err := os.ReadDir(filepath.Join(dir, "names"))
			require.NoError(b, err)
			n += len(d)
		}
		return float64(n)
	}},
	{"rename", "1/s", func(b *testing.B, dir string) float64 {
		each(b, func(i int) error { return os.Rename(name(dir, i), name(dir, i)+".new") })
		return float64(*benchFiles)
	}},
	{"unlink", "1/s", func(b *testing.B, dir string) float64 {
		each(b, func(i int) error { return unix.Unlink(name(dir, i) + ".new") })
		return float64(*benchFiles)
	}},
	{"small", "1/s", func(b *testing.B, dir string) float64 {
		data := bytes.Repeat([]byte{1}, 4096)
		for i := range *benchFiles / 2 {
			require.NoError(b, os.WriteFile(name(dir, i), data, 0o644))
		}
		return float64(*benchFiles / 2)
	}},
	{"tree", "1/s", func(b *testing.B, dir string) float64 {
		src := filepath.Join(goroot(b), "src", "net")
		out, err := exec.Command("cp", "-r", src, dir).CombinedOutput()
		require.NoError(b, err, "%s", out)
		n := 0
		require.NoError(b, filepath.Walk(filepath.Join(dir, "net"), func(string, os.FileInfo, error) error { n++; return nil }))
		return float64(n)
	}},
	{"rmtree", "1/s", func(b *testing.B, dir string) float64 {
		n := 0
		require.NoError(b, filepath.Walk(filepath.Join(dir, "net"), func(string, os.FileInfo, error) error { n++; return nil }))
		out, err := exec.Command("rm", "-r", filepath.Join(dir, "net")).CombinedOutput()
		require.NoError(b, err, "%s", out)
		return float64(n)
	}},
	{"write-4k", "MiB/s", func(b *testing.B, dir string) float64 {
		return sequentialWrite(b, filepath.Join(dir, "small-writes"), min(256<<20, *benchData), 4096, 0)
	}},
	{"write", "MiB/s", func(b *testing.B, dir string) float64 {
		return sequentialWrite(b, filepath.Join(dir, "big"), *benchData, 1<<20, 0)
	}},
	{"write-direct", "MiB/s", func(b *testing.B, dir string) float64 {
		return sequentialWrite(b, filepath.Join(dir, "direct"), *benchData, 4<<20, unix.O_DIRECT)
	}},
	{"read-warm", "MiB/s", func(b *testing.B, dir string) float64 { return sequentialRead(b, filepath.Join(dir, "big"), 0) }},
	{"read-cold", "MiB/s", func(b *testing.B, dir string) float64 {
		dropCaches(b)
		return sequentialRead(b, filepath.Join(dir, "big"), 0)
	}},
	{"read-direct", "MiB/s", func(b *testing.B, dir string) float64 {
		dropCaches(b)
		return sequentialRead(b, filepath.Join(dir, "big"), unix.O_DIRECT)
	}},
	{"random-4k", "1/s", func(b *testing.B, dir string) float64 {
		dropCaches(b)
		f, err := os.Open(filepath.Join(dir, "big"))
		require.NoError(b, err)
		defer f.Close()
		buf := make([]byte, 4096)
		const n = 10000
		for range n {
			_, err := f.ReadAt(buf, rand.Int64N(*benchData/4096)*4096)
			require.NoError(b, err)
		}
		return n
	}},
}

// BenchmarkMount runs all rows on each file system in turn.
func BenchmarkMount(b *testing.B) {
	for _, tg := range targets() {
		if *benchOnly != "" && !strings.Contains(","+*benchOnly+",", ","+tg.name+",") {
			continue
		}
		b.Run(tg.name, func(b *testing.B) {
			dir, pid := tg.start(b)
			dir = filepath.Join(dir, "bench-bucket")
			require.NoError(b, os.Mkdir(dir, 0o755))
			require.NoError(b, os.Mkdir(filepath.Join(dir, "names"), 0o755))
			for _, r := range rows {
				if *benchRows != "" && !strings.Contains(","+*benchRows+",", ","+r.name+",") {
					continue
				}
				if !b.Run(r.name, func(b *testing.B) { measure(b, r, dir, pid) }) {
					break
				}
			}
			require.NoError(b, os.RemoveAll(dir))
		})
	}
}

func measure(b *testing.B, r row, dir string, pid int) {
	begun, cpu := time.Now(), cpuSeconds(pid)
	done := r.run(b, dir)
	took := time.Since(begun).Seconds()
	b.ReportMetric(done/took, r.unit)
	b.ReportMetric(cpuSeconds(pid)-cpu, "cpu-s")
	b.ReportMetric(peakMiB(pid), "peak-MiB")
	b.ReportMetric(0, "ns/op")
}

func name(dir string, i int) string { return fmt.Sprintf("%s/names/file-%07d", dir, i) }

func each(b *testing.B, fn func(i int) error) {
	for i := range *benchFiles {
		require.NoError(b, fn(i))
	}
}

func goroot(b *testing.B) string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(b, err)
	return strings.TrimSpace(string(out))
}

// aligned returns n bytes that O_DIRECT accepts.
func aligned(n int) []byte {
	b := make([]byte, n+4096)
	at := 4096 - int(uintptr(unsafe.Pointer(&b[0]))%4096)
	return b[at : at+n]
}

// sequentialWrite includes the fsync that makes the bytes durable, and the close.
func sequentialWrite(b *testing.B, path string, size int64, step int, flags int) float64 {
	buf := aligned(step)
	for i := range buf {
		buf[i] = byte(rand.Int())
	}
	fd, err := syscall.Open(path, syscall.O_CREAT|syscall.O_WRONLY|syscall.O_TRUNC|flags, 0o644)
	require.NoError(b, err)
	for at := int64(0); at < size; at += int64(step) {
		n, err := syscall.Write(fd, buf)
		require.NoError(b, err)
		require.Equal(b, step, n)
	}
	require.NoError(b, syscall.Fsync(fd))
	require.NoError(b, syscall.Close(fd))
	return float64(size) / (1 << 20)
}

func sequentialRead(b *testing.B, path string, flags int) float64 {
	f, err := os.OpenFile(path, os.O_RDONLY|flags, 0)
	require.NoError(b, err)
	defer f.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, aligned(1<<20))
	require.NoError(b, err)
	return float64(n) / (1 << 20)
}

func dropCaches(b *testing.B) {
	unix.Sync()
	require.NoError(b, os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0))
}
