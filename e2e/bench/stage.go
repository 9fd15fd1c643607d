package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"k3fs/e2e/harness"
)

// target is a directory to measure, with the process that serves it (none for the disk itself).
type target struct {
	name string
	dir  string
	pid  int
}

// cpu is the time used so far by the target's server and by this process, its client.
func (t target) cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano()+u.Stime.Nano()) + harness.ProcessCPU(t.pid)
}

// stage is everything that runs during the benchmark.
type stage struct {
	config
	root    string
	targets []target // of rows a and b
	daemon  *harness.Daemon
	servers []peer // of rows c and d
	loop    *exec.Cmd
	once    sync.Once
}

func newStage(c config) (s *stage, err error) {
	s = &stage{config: c}
	if s.root, err = os.MkdirTemp(c.dir, "k3fs-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	disk := target{name: "ext4", dir: filepath.Join(s.root, "disk")}
	if kind, err := exec.Command("stat", "-f", "-c", "%T", s.root).Output(); err == nil && !strings.Contains(string(kind), "ext") {
		disk.name = strings.TrimSpace(string(kind))
	}
	if err = os.Mkdir(disk.dir, 0o755); err != nil {
		return nil, err
	}
	loop, err := s.startLoopback()
	if err != nil {
		return nil, fmt.Errorf("go-fuse loopback: %w", err)
	}
	if s.daemon, err = harness.NewDaemon(harness.Options{Dir: filepath.Join(s.root, "k3fs")}); err != nil {
		return nil, err
	}
	if err = s.daemon.Start(); err != nil {
		return nil, err
	}
	ours := target{name: "k3fs", dir: filepath.Join(s.daemon.Mount, "bench"), pid: s.daemon.PID()}
	if err = os.Mkdir(ours.dir, 0o755); err != nil {
		return nil, err
	}
	s.targets = append([]target{disk, loop, ours}, c.mounts...)
	s.servers = append([]peer{{name: "k3fs", endpoint: s.daemon.S3, access: harness.AccessKey, secret: harness.SecretKey}}, c.peers...)
	return s, nil
}

// startLoopback builds go-fuse's example, which is part of a library that k3fs uses, and mounts it.
func (s *stage) startLoopback() (target, error) {
	bin, mount, back := filepath.Join(s.root, "loopback"), filepath.Join(s.root, "loop"), filepath.Join(s.root, "loop.disk")
	build := exec.Command("go", "build", "-o", bin, "github.com/hanwen/go-fuse/v2/example/loopback")
	build.Dir = harness.ModuleRoot()
	if out, err := build.CombinedOutput(); err != nil {
		return target{}, fmt.Errorf("%w: %s", err, out)
	}
	if err := errors.Join(os.Mkdir(mount, 0o755), os.Mkdir(back, 0o755)); err != nil {
		return target{}, err
	}
	s.loop = exec.Command(bin, "-q", mount, back)
	s.loop.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := s.loop.Start(); err != nil {
		return target{}, err
	}
	for range 100 {
		if harness.Mounted(mount) {
			return target{name: "loopback", dir: mount, pid: s.loop.Process.Pid}, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return target{}, errors.New("not mounted after 5 s")
}

// close stops what was started and removes what was made.
func (s *stage) close() {
	s.once.Do(func() {
		if s.daemon != nil {
			if s.daemon.Running() {
				if err := s.daemon.Stop(); err != nil {
					fmt.Fprintln(os.Stderr, "bench: stop:", err)
				}
			}
			s.daemon.Close()
		}
		if s.loop != nil && s.loop.Process != nil {
			_ = exec.Command("fusermount3", "-u", filepath.Join(s.root, "loop")).Run()
			_ = s.loop.Process.Signal(syscall.SIGTERM)
			_ = s.loop.Wait()
		}
		_ = exec.Command("rm", "-rf", "--one-file-system", s.root).Run()
	})
}

func (s *stage) printMemory() {
	fmt.Printf("peak memory so far: k3fs %d MiB", s.daemon.PeakMemory()>>20)
	if s.loop != nil {
		fmt.Printf(", loopback %d MiB", harness.ProcessPeak(s.loop.Process.Pid)>>20)
	}
	fmt.Println()
}

// dropCaches empties the kernel's page, dentry and inode caches, for cold reads.
func dropCaches() error {
	syscall.Sync()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o200)
}

// settle lets dirty pages of one target's turn not fall into the next one's.
func settle() { syscall.Sync() }

// each runs fn for every target in turn, as often as asked, in rotating order.
func (s *stage) each(fn func(rep int, t target) error) error {
	for rep := range s.reps {
		for i := range s.targets {
			t := s.targets[(i+rep)%len(s.targets)]
			settle()
			if err := fn(rep, t); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	return nil
}

// thousands prints 20000 as "20,000".
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
