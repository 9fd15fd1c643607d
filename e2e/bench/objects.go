package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"k3fs/e2e/harness"
)

// peer is an S3 endpoint.
type peer struct{ name, endpoint, access, secret string }

func parsePeer(s string) (peer, error) {
	name, rest, ok := strings.Cut(s, "=")
	f := strings.Split(rest, ",")
	if !ok || len(f) != 3 {
		return peer{}, fmt.Errorf("want NAME=HOST:PORT,ACCESS,SECRET, got %q", s)
	}
	return peer{name, f[0], f[1], f[2]}, nil
}

func (p peer) client() (*minio.Client, error) {
	return minio.New(p.endpoint, &minio.Options{
		Creds: credentials.NewStaticV4(p.access, p.secret, ""), Region: harness.Region,
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
	})
}

// load is one client of one bucket: what the project's common load generator does, step by step.
type load struct {
	*minio.Client
	server, bucket string
}

func (p peer) load(bucket string) (load, error) {
	c, err := p.client()
	if err != nil {
		return load{}, err
	}
	return load{c, p.name, bucket}, c.MakeBucket(context.Background(), bucket, minio.MakeBucketOptions{Region: harness.Region})
}

func (l load) put(key string, body []byte) error {
	_, err := l.PutObject(context.Background(), l.bucket, key, bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{DisableMultipart: len(body) > 0})
	return err
}

func (l load) get(key string, size int) error {
	o, err := l.GetObject(context.Background(), l.bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return err
	}
	defer o.Close()
	n, err := io.Copy(io.Discard, o)
	if err == nil && n != int64(size) {
		err = fmt.Errorf("short read of %s: %d", key, n)
	}
	return err
}

// steady repeats op in workers for a while and returns the latencies and the whole time.
func steady(workers int, d time.Duration, op func(worker int, i int) error) ([]time.Duration, time.Duration, error) {
	began := time.Now()
	lat := make([][]time.Duration, workers)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := 0; time.Since(began) < d && errs[w] == nil; i++ {
				t := time.Now()
				errs[w] = op(w, i)
				lat[w] = append(lat[w], time.Since(t))
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	all := slices.Concat(lat...)
	slices.Sort(all)
	return all, took, errors.Join(errs...)
}

// objects is row (c): every PUT is durable when k3fs answers it. A server that fails is left out of
// what follows; the others go on.
func objects(s *stage, r *report) (errs error) {
	for rep := range s.reps {
		for i := range s.servers {
			p := s.servers[(i+rep)%len(s.servers)]
			if err := s.objectsOf(p, r, rep); err != nil {
				errs = errors.Join(errs, fmt.Errorf("%s: %w", p.name, err))
			}
		}
	}
	return errs
}

func (s *stage) objectsOf(p peer, r *report, rep int) error {
	l, err := p.load(fmt.Sprintf("load-%d-%d", time.Now().Unix(), rep))
	if err != nil {
		return err
	}
	for _, size := range []int{4 << 10, 64 << 10, mib, 16 * mib} {
		for _, clients := range []int{1, 16} {
			settle()
			if err := l.measure(r, size, clients, time.Duration(s.pick(300, 3000))*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return l.empty() // 10 GiB and more
}

func (l load) measure(r *report, size, clients int, d time.Duration) error {
	body := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(body)
	key := func(w, i int) string { return fmt.Sprintf("s%d/c%d/w%d/%08d", size, clients, w, i) }
	counts := make([]int, clients)
	unit, per := "ops/s", 1.0
	if size >= 16*mib {
		unit, per = "MiB/s", float64(size)/mib
	}
	of := fmt.Sprintf(" %d KiB, %d clients", size>>10, clients)
	steps := map[string]func(w, i int) error{
		"PUT": func(w, i int) error { counts[w] = i + 1; return l.put(key(w, i), body) },
		"GET": func(w, _ int) error { return l.get(key(w, rand.IntN(counts[w])), size) },
	}
	for _, op := range []string{"PUT", "GET"} {
		lat, took, err := steady(clients, d, steps[op])
		if err != nil {
			return err
		}
		r.add("c", op+of, unit, l.server, per*float64(len(lat))/took.Seconds())
		r.add("c", op+of+": p99", "ms", l.server, lat[len(lat)*99/100].Seconds()*1000)
	}
	return nil
}

// empty removes every object of the bucket, and the bucket.
func (l load) empty() error {
	ctx := context.Background()
	for e := range l.RemoveObjects(ctx, l.bucket, l.ListObjects(ctx, l.bucket, minio.ListObjectsOptions{Recursive: true}), minio.RemoveObjectsOptions{}) {
		return e.Err
	}
	return l.RemoveBucket(ctx, l.bucket)
}

// fill makes keys list/NN/NNNNNNNN from number from to number to, each of no bytes.
func (l load) fill(from, to int) error {
	return l.puts(to-from, func(i int) string { return listKey(from + i) })
}

// fillUnder is fill of n keys in a directory.
func (l load) fillUnder(dir string, n int) error {
	return l.puts(n, func(i int) string { return dir + "/" + listKey(i) })
}

// puts makes n objects of no bytes with 32 clients.
func (l load) puts(n int, key func(i int) string) error {
	next := make(chan int)
	go func() {
		defer close(next)
		for i := range n {
			next <- i
		}
	}()
	var wg sync.WaitGroup
	errs := make([]error, 32)
	for w := range errs {
		wg.Go(func() {
			for i := range next {
				if errs[w] == nil {
					errs[w] = l.put(key(i), nil)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func listKey(i int) string { return fmt.Sprintf("list/%02d/%08d", i%10, i) }

// count lists and returns how many entries came.
func (l load) count(o minio.ListObjectsOptions) (int, error) {
	n := 0
	for e := range l.ListObjects(context.Background(), l.bucket, o) {
		if e.Err != nil {
			return n, e.Err
		}
		n++
	}
	return n, nil
}

// listings is row (d).
func listings(s *stage, r *report) (errs error) {
	for _, p := range s.servers {
		if err := s.listingsOf(p, r); err != nil {
			errs = errors.Join(errs, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	return errs
}

func (s *stage) listingsOf(p peer, r *report) error {
	keys := s.pick(2000, 100_000)
	l, err := p.load(fmt.Sprintf("list-%d", time.Now().Unix()))
	if err != nil {
		return err
	}
	began := time.Now()
	if err := l.fill(0, keys); err != nil {
		return err
	}
	r.add("d", "make "+thousands(keys)+" keys, 32 clients", "1/s", p.name, float64(keys)/time.Since(began).Seconds())
	for range s.reps {
		if err := l.listOnce(r, keys); err != nil {
			return err
		}
	}
	return l.empty()
}

func (l load) listOnce(r *report, keys int) error {
	for _, step := range []struct {
		what string
		o    minio.ListObjectsOptions
		want int
	}{
		{"list " + thousands(keys) + " keys, flat", minio.ListObjectsOptions{Prefix: "list/", Recursive: true, MaxKeys: 1000}, keys},
		{"list a directory of " + thousands(keys/10) + ", delimiter", minio.ListObjectsOptions{Prefix: "list/03/", MaxKeys: 1000}, keys / 10},
	} {
		began := time.Now()
		n, err := l.count(step.o)
		if err == nil && n != step.want {
			err = fmt.Errorf("%s: listed %d", step.what, n)
		}
		if err != nil {
			return err
		}
		r.add("d", step.what, "keys/s", l.server, float64(n)/time.Since(began).Seconds())
	}
	began := time.Now()
	if n, err := l.count(minio.ListObjectsOptions{Prefix: "list/"}); err != nil || n != 10 {
		return fmt.Errorf("prefixes: %d, %w", n, err)
	}
	r.add("d", "list the 10 prefixes above them", "ms", l.server, time.Since(began).Seconds()*1000)
	return nil
}
