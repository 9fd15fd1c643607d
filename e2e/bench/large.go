package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const mib = 1 << 20

// largeFiles is row (a).
func largeFiles(s *stage, r *report) error {
	size := s.pick(64, 2048)
	l := &large{report: r, mib: size, small: s.pick(16, 256), reads: s.pick(500, 4000)}
	var err error
	if l.buf, err = unix.Mmap(-1, 0, mib, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE); err != nil {
		return err
	}
	_, _ = rand.NewChaCha8([32]byte{7}).Read(l.buf)
	return s.each(func(_ int, t target) error {
		path := filepath.Join(t.dir, "large")
		err := errors.Join(
			l.write(t, path, "buffered", 0),
			l.read(t, path, "cold"),
			l.read(t, path, "warm"),
			l.randomReads(t, path),
			os.Remove(path))
		if err != nil {
			return err
		}
		settle()
		return errors.Join(l.write(t, path, "O_DIRECT", unix.O_DIRECT), os.Remove(path), l.smallWrites(t, path), os.Remove(path))
	})
}

type large struct {
	*report
	buf               []byte // page-aligned, incompressible, reused
	mib, small, reads int
}

func (l *large) rate(t target, what string, mibs int, began time.Time, cpu time.Duration) {
	l.add("a", what, "MiB/s", t.name, float64(mibs)/time.Since(began).Seconds())
	l.add("a", what+": CPU", "s/GiB", t.name, (t.cpu()-cpu).Seconds()*1024/float64(mibs))
}

func (l *large) write(t target, path, mode string, flag int) error {
	began, cpu := time.Now(), t.cpu()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|flag, 0o644)
	if err != nil {
		return err
	}
	for range l.mib {
		if _, err := f.Write(l.buf); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	l.rate(t, fmt.Sprintf("write %s MiB %s, fsync", thousands(l.mib), mode), l.mib, began, cpu)
	return nil
}

func (l *large) read(t target, path, mode string) error {
	if mode == "cold" {
		if err := dropCaches(); err != nil {
			return err
		}
	}
	began, cpu := time.Now(), t.cpu()
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, mib))
	if err == nil && n != int64(l.mib)*mib {
		err = fmt.Errorf("read %d bytes of %d MiB", n, l.mib)
	}
	l.rate(t, "read it back, "+mode, l.mib, began, cpu)
	return err
}

func (l *large) randomReads(t target, path string) error {
	if err := dropCaches(); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	rng, buf := rand.New(rand.NewPCG(1, 2)), make([]byte, 4096)
	began := time.Now()
	for range l.reads {
		if _, err := f.ReadAt(buf, rng.Int64N(int64(l.mib)*256)*4096); err != nil {
			return err
		}
	}
	l.add("a", "4 KiB random reads, cold", "1/s", t.name, float64(l.reads)/time.Since(began).Seconds())
	return nil
}

func (l *large) smallWrites(t target, path string) error {
	settle()
	began, cpu := time.Now(), t.cpu()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for i := range l.small * 256 {
		if _, err := f.Write(l.buf[i%256*4096:][:4096]); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	l.rate(t, fmt.Sprintf("%d MiB in 4 KiB writes, close", l.small), l.small, began, cpu)
	began = time.Now()
	fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		return err
	}
	err = errors.Join(syscall.Fsync(fd), syscall.Close(fd))
	l.add("a", "... and fsync after it", "ms", t.name, time.Since(began).Seconds()*1000)
	return err
}
