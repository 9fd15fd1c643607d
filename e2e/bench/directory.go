package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// directories is row (i): what an entry costs in one directory of a thousand to a million files. Between the
// measurements eight workers make more of them.
func directories(s *stage, r *report) error {
	counts, err := s.counts("1000,10000,100000,1000000")
	if err != nil {
		return err
	}
	for _, t := range s.targets {
		if t.name == "loopback" {
			continue // its directories are the disk's
		}
		d := &directory{report: r, t: t, dir: filepath.Join(t.dir, "directory"), sample: s.pick(200, 2000)}
		if err := os.Mkdir(d.dir, 0o755); err != nil {
			return err
		}
		for _, n := range counts {
			if err := d.at(n); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	return nil
}

type directory struct {
	*report
	t      target
	dir    string
	made   int
	sample int
}

func (d *directory) path(i int) string { return filepath.Join(d.dir, fmt.Sprintf("f%08d", i)) }

func create(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// at fills the directory up to n files, and measures there.
func (d *directory) at(n int) error {
	if err := d.fill(n); err != nil {
		return err
	}
	began := time.Now()
	dir, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	dir.Close()
	if err != nil || len(names) != n {
		return fmt.Errorf("readdir shows %d of %d: %w", len(names), n, err)
	}
	d.add("i", "list "+thousands(n)+", an entry", "us", d.t.name, time.Since(began).Seconds()*1e6/float64(n))
	for _, step := range []struct {
		what string
		fn   func(i int) error
	}{
		{"create", func(i int) error { return create(d.path(n + i)) }},
		{"stat", func(int) error { _, err := os.Lstat(d.path(rand.IntN(n))); return err }},
		{"remove", func(i int) error { return os.Remove(d.path(n + i)) }},
	} {
		began := time.Now()
		for i := range d.sample {
			if err := step.fn(i); err != nil {
				return err
			}
		}
		d.add("i", step.what+" in "+thousands(n), "us", d.t.name, time.Since(began).Seconds()*1e6/float64(d.sample))
	}
	return nil
}

func (d *directory) fill(n int) error {
	errs := make(chan error, 8)
	var wg sync.WaitGroup
	for w := range cap(errs) {
		wg.Go(func() {
			for i := d.made + w; i < n; i += cap(errs) {
				if err := create(d.path(i)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	d.made = n
	return <-errs
}
