package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// metadata is row (b).
func metadata(s *stage, r *report) error {
	tar := filepath.Join(s.root, "tree.tar")
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	tree := "src"
	if s.quick {
		tree = "src/net"
	}
	if out, err := exec.Command("tar", "-C", strings.TrimSpace(string(goroot)), "-cf", tar, tree).CombinedOutput(); err != nil {
		return fmt.Errorf("tar: %w: %s", err, out)
	}
	m := &meta{report: r, row: "b", files: s.pick(1000, 20_000), small: s.pick(500, 10_000)}
	return s.each(func(rep int, t target) error {
		dir := filepath.Join(t.dir, fmt.Sprintf("meta-%d", rep))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		err := errors.Join(m.names(t, dir), m.smallFiles(t, dir), m.unpack(t, dir, tar))
		return errors.Join(err, os.RemoveAll(dir))
	})
}

type meta struct {
	*report
	row          string
	files, small int
}

// timed runs fn for each of n numbered files and reports its rate.
func (m *meta) timed(t target, what string, n int, fn func(name string) error) error {
	began := time.Now()
	for i := range n {
		if err := fn(fmt.Sprintf("f%07d", i)); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	m.add(m.row, what, "1/s", t.name, float64(n)/time.Since(began).Seconds())
	return nil
}

func (m *meta) names(t target, dir string) error {
	of := " " + thousands(m.files)
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := m.timed(t, "create"+of, m.files, func(name string) error { return create(path(name)) }); err != nil {
		return err
	}
	stat := func(name string) error { _, err := os.Lstat(path(name)); return err }
	if err := m.timed(t, "stat"+of, m.files, stat); err != nil {
		return err
	}
	if err := dropCaches(); err != nil {
		return err
	}
	if err := m.timed(t, "stat cold"+of, m.files, stat); err != nil {
		return err
	}
	began := time.Now()
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	names, err := d.Readdirnames(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	if len(names) < m.files {
		return fmt.Errorf("readdir shows %d of %d", len(names), m.files)
	}
	m.add(m.row, "readdir"+of, "1/s", t.name, float64(len(names))/time.Since(began).Seconds())
	return errors.Join(
		m.timed(t, "rename"+of, m.files, func(name string) error { return os.Rename(path(name), path(name)+".new") }),
		m.timed(t, "unlink"+of, m.files, func(name string) error { return os.Remove(path(name) + ".new") }))
}

func (m *meta) smallFiles(t target, dir string) error {
	body := make([]byte, 4096)
	for i := range body {
		body[i] = byte(i * 7)
	}
	settle()
	err := m.timed(t, "create + write 4 KiB + close "+thousands(m.small), m.small, func(name string) error {
		return os.WriteFile(filepath.Join(dir, "small-"+name), body, 0o644)
	})
	if err != nil {
		return err
	}
	if err := dropCaches(); err != nil {
		return err
	}
	err = m.timed(t, "open + read 4 KiB + close, cold", m.small, func(name string) error {
		b, err := os.ReadFile(filepath.Join(dir, "small-"+name))
		if err == nil && len(b) != len(body) {
			err = fmt.Errorf("%d bytes", len(b))
		}
		return err
	})
	if err != nil {
		return err
	}
	return m.timed(t, "remove them", m.small, func(name string) error { return os.Remove(filepath.Join(dir, "small-"+name)) })
}

func (m *meta) unpack(t target, dir, tar string) error {
	settle()
	steps := []struct {
		what string
		cmd  *exec.Cmd
	}{
		{"unpack a source tree", exec.Command("tar", "-C", dir, "-xf", tar)},
		{"remove it", exec.Command("rm", "-rf", filepath.Join(dir, "src"))},
	}
	for _, step := range steps {
		began := time.Now()
		if out, err := step.cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", step.what, err, out)
		}
		m.add(m.row, step.what, "s", t.name, time.Since(began).Seconds())
	}
	return nil
}
