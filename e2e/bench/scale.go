package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/minio/minio-go/v7"
)

// scales is row (e): the same operations of k3fs in a bucket of few and of many entries. Columns are
// numbers of entries.
func scales(s *stage, r *report) error {
	counts, err := s.counts(scaleDefault)
	if err != nil {
		return err
	}
	l, err := s.servers[0].load("scale")
	if err != nil {
		return err
	}
	made := 0
	for _, n := range counts {
		began := time.Now()
		if err := l.fill(made, n); err != nil {
			return err
		}
		at := thousands(n)
		r.add("e", "make keys, 32 clients", "1/s", at, float64(n-made)/time.Since(began).Seconds())
		made = n
		for range s.reps {
			if err := atScale(s, r, l, n, min(1000, counts[0]/20)); err != nil {
				return err
			}
		}
		r.add("e", "peak memory", "MiB", at, float64(s.daemon.PeakMemory())/mib)
	}
	return nil
}

func atScale(s *stage, r *report, l load, n, page int) error {
	at := thousands(n)
	core := minio.Core{Client: l.Client}
	for what, after := range map[string]string{"first": "", "middle": listKey(n/2 + 5)} {
		for delimiter, how := range map[string]string{"": "flat", "/": "delimiter"} {
			prefix := "list/"
			if delimiter != "" {
				prefix = "list/05/"
			}
			began := time.Now()
			const pages = 5
			for range pages {
				res, err := core.ListObjectsV2(l.bucket, prefix, after, "", delimiter, page)
				if err != nil {
					return err
				}
				if len(res.Contents) == 0 {
					return fmt.Errorf("an empty page at %s", after)
				}
			}
			r.add("e", fmt.Sprintf("a page of %d keys, %s, %s", page, what, how), "ms", at, time.Since(began).Seconds()*1000/pages)
		}
	}
	body := make([]byte, 4096)
	lat, took, err := steady(16, time.Duration(s.pick(200, 2000))*time.Millisecond, func(w, i int) error {
		return l.put(fmt.Sprintf("list/05/extra-%d-%d-%d", time.Now().UnixNano(), w, i), body)
	})
	if err != nil {
		return err
	}
	r.add("e", "PUT 4 KiB, 16 clients", "ops/s", at, float64(len(lat))/took.Seconds())
	// What was added goes again, so that n stays n.
	for e := range l.RemoveObjects(context.Background(), l.bucket, l.ListObjects(context.Background(), l.bucket,
		minio.ListObjectsOptions{Prefix: "list/05/extra-", Recursive: true}), minio.RemoveObjectsOptions{}) {
		return e.Err
	}
	m := &meta{report: r, row: "e", files: s.pick(500, 5000)}
	dir := filepath.Join(s.daemon.Mount, "scale", "list", "05")
	t := target{name: at, dir: dir}
	path := func(name string) string { return filepath.Join(dir, "x"+name) }
	for _, step := range []struct {
		what string
		fn   func(name string) error
	}{
		{"create", func(name string) error { return os.WriteFile(path(name), nil, 0o644) }},
		{"stat", func(name string) error { _, err := os.Lstat(path(name)); return err }},
		{"rename", func(name string) error { return os.Rename(path(name), path(name)+".new") }},
		{"unlink", func(name string) error { return os.Remove(path(name) + ".new") }},
	} {
		if err := m.timed(t, step.what+" in a full directory", m.files, step.fn); err != nil {
			return err
		}
	}
	began := time.Now()
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	r.add("e", "readdir", "1/s", at, float64(len(names))/time.Since(began).Seconds())
	return err
}
