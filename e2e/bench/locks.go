package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"

	"k3fs/e2e/harness"
)

// locks is row (g): what versions, locks and holds cost. In a plain bucket and in one with Object Lock the same is
// done in turns so short that a slow spell hits both; a directory is renamed, and refused to be, with few files in
// it and with many; a key is listed with few versions and with many.
func locks(s *stage, r *report) error {
	var buckets []load
	for _, name := range []string{"plain", "locked"} {
		c, err := s.servers[0].client()
		if err != nil {
			return err
		}
		l := load{c, name, fmt.Sprintf("%s-%d", name, time.Now().Unix())}
		o := minio.MakeBucketOptions{Region: harness.Region, ObjectLocking: name == "locked"}
		if err := c.MakeBucket(context.Background(), l.bucket, o); err != nil {
			return err
		}
		buckets = append(buckets, l)
	}
	k := &lockBench{s, r, buckets}
	for rep := range s.reps {
		if err := errors.Join(k.operations(rep), k.renames(rep)); err != nil {
			return err
		}
	}
	return k.versions()
}

type lockBench struct {
	*stage
	*report
	buckets []load
}

// operations are what issue 5 wants within 1.3 times a plain bucket's.
func (k *lockBench) operations(rep int) error {
	body := make([]byte, 4096)
	key := func(i int) string { return fmt.Sprintf("ops-%d/f%07d", rep, i) }
	file := func(l load, i int) string { return filepath.Join(k.daemon.Mount, l.bucket, key(i)) }
	for _, step := range []struct {
		what string
		op   func(l load, i int) error
	}{
		{"PUT 4 KiB", func(l load, i int) error { return l.put(key(i), body) }},
		{"GET 4 KiB", func(l load, i int) error { return l.get(key(i), len(body)) }},
		{"PUT 4 KiB over another", func(l load, i int) error { return l.put(key(i), body) }},
		{"rename", func(l load, i int) error { return os.Rename(file(l, i), file(l, i)+".new") }},
		{"unlink", func(l load, i int) error { return os.Remove(file(l, i) + ".new") }},
		{"create + write 4 KiB + close", func(l load, i int) error { return os.WriteFile(file(l, i), body, 0o644) }},
	} {
		if err := k.inTurns(step.what, step.op); err != nil {
			return err
		}
	}
	return nil
}

// inTurns runs op for numbered files in all buckets, and reports the rate of each and the daemon's CPU.
func (k *lockBench) inTurns(what string, op func(l load, i int) error) error {
	files := k.pick(200, 3000)
	const turns = 10
	took, cpu := make([]time.Duration, len(k.buckets)), make([]time.Duration, len(k.buckets))
	for turn := range turns {
		for j := range k.buckets {
			at := (j + turn) % len(k.buckets)
			began, used := time.Now(), k.daemon.CPU()
			for i := turn * files / turns; i < (turn+1)*files/turns; i++ {
				if err := op(k.buckets[at], i); err != nil {
					return fmt.Errorf("%s, %s: %w", what, k.buckets[at].server, err)
				}
			}
			took[at] += time.Since(began)
			cpu[at] += k.daemon.CPU() - used
		}
	}
	for at, l := range k.buckets {
		k.add("g", what, "1/s", l.server, float64(files)/took[at].Seconds())
		k.add("g", what+": CPU", "us", l.server, cpu[at].Seconds()*1e6/float64(files))
	}
	return nil
}

// renames moves directories of few files and of many, to and fro, and one whose last file is under a legal hold.
func (k *lockBench) renames(rep int) error {
	for _, files := range []int{100, k.pick(1000, 10_000)} {
		for _, l := range k.buckets {
			dir := fmt.Sprintf("tree-%d-%d", rep, files)
			if err := l.fillUnder(dir, files); err != nil {
				return err
			}
			from := filepath.Join(k.daemon.Mount, l.bucket, dir)
			what := "directory of " + thousands(files) + " files: rename"
			if err := k.timed("g", what, l.server, func(i int) error {
				if i%2 == 0 {
					return os.Rename(from, from+".new")
				}
				return os.Rename(from+".new", from)
			}); err != nil {
				return err
			}
			if l.server == "plain" {
				continue
			}
			on := minio.LegalHoldEnabled
			if err := l.PutObjectLegalHold(context.Background(), l.bucket, dir+"/"+listKey(files-1), minio.PutObjectLegalHoldOptions{Status: &on}); err != nil {
				return err
			}
			if err := k.timed("g", what+", refused", l.server, func(int) error {
				if err := os.Rename(from, from+".new"); !errors.Is(err, syscall.EPERM) {
					return fmt.Errorf("a directory with a held file was renamed: %w", err)
				}
				return nil
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// timed reports what one of 100 calls took.
func (k *lockBench) timed(row, what, target string, op func(i int) error) error {
	const calls = 100
	began := time.Now()
	for i := range calls {
		if err := op(i); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	k.add(row, what, "us", target, time.Since(began).Seconds()*1e6/calls)
	return nil
}

// versions lists a key of few versions and one of many.
func (k *lockBench) versions() error {
	l := k.buckets[1]
	for _, n := range []int{1000, k.pick(5000, 100_000)} {
		key := fmt.Sprintf("many-%d", n)
		if err := l.puts(n, func(int) string { return key }); err != nil {
			return err
		}
		what := thousands(n) + " versions of a key"
		began, got := time.Now(), 0
		page := began
		for v := range l.ListObjects(context.Background(), l.bucket, minio.ListObjectsOptions{Prefix: key, WithVersions: true, MaxKeys: 1000}) {
			if v.Err != nil {
				return v.Err
			}
			if got++; got%1000 == 0 {
				if got == 1000 || got == n {
					where := map[bool]string{true: "first", false: "last"}[got == 1000]
					k.add("g", what+": "+where+" page of 1,000", "ms", l.server, time.Since(page).Seconds()*1000)
				}
				page = time.Now()
			}
		}
		if got != n {
			return fmt.Errorf("listed %d of %s", got, what)
		}
		k.add("g", what+": all, a page", "ms", l.server, time.Since(began).Seconds()*1000/float64(n/1000))
	}
	return nil
}
