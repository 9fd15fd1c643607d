package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"k3fs/e2e/harness"
)

// crowds is row (f): a working client alone, and beside many connections that are idle or never come to the end of
// their header; and what those cost k3fs in memory. Without TLS and with.
func crowds(s *stage, r *report) error {
	for rep := range s.reps {
		for _, secure := range []bool{false, true} {
			if err := s.crowd(r, rep, secure); err != nil {
				return err
			}
		}
	}
	return nil
}

// crowdSize is how many connections of each kind fit among the descriptors that a process may have.
func (s *stage) crowdSize() (idle, slow int) {
	idle = s.pick(500, 10_000)
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil && limit.Cur < uint64(2*idle+200) {
		return idle, int(limit.Cur) - idle - 200
	}
	return idle, idle
}

func (s *stage) crowd(r *report, rep int, secure bool) (err error) {
	o := harness.Options{Dir: filepath.Join(s.root, fmt.Sprintf("crowd-%d-%t", rep, secure)), Env: []string{"K3FS_S3__READ_HEADER_TIMEOUT=5m"}}
	name := "k3fs"
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	var trust *tls.Config
	if secure {
		name, o.TLS = "k3fs, TLS", true
		trust = &tls.Config{InsecureSkipVerify: true} // it was made for this run
		transport.TLSClientConfig = trust.Clone()
	}
	d, err := harness.NewDaemon(o)
	if err != nil {
		return err
	}
	if err := d.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()); d.Close() }()
	client, err := minio.New(d.S3, &minio.Options{Creds: credentials.NewStaticV4(harness.AccessKey, harness.SecretKey, ""), Region: harness.Region,
		Secure: secure, Transport: transport})
	if err != nil {
		return err
	}
	l := load{client, name, "crowd"}
	if err := l.MakeBucket(context.Background(), l.bucket, minio.MakeBucketOptions{Region: harness.Region}); err != nil {
		return err
	}
	if err := l.work(r, s, "alone"); err != nil {
		return err
	}
	u, err := l.PresignedGetObject(context.Background(), l.bucket, "0/0", time.Hour, nil)
	if err != nil {
		return err
	}
	c := harness.NewCrowd(d.S3, u.RequestURI(), trust)
	defer c.Close()
	idle, slow := s.crowdSize()
	before := harness.ProcessResident(d.PID())
	if err := c.Idle(idle); err != nil {
		return err
	}
	if err := c.Slow(slow, 5*time.Second); err != nil {
		return err
	}
	beside := "beside " + thousands(idle) + " idle, " + thousands(slow) + " slow"
	if err := l.work(r, s, beside); err != nil {
		return err
	}
	if c.Held() != int64(slow) {
		return fmt.Errorf("%d of %d slow connections are left", c.Held(), slow)
	}
	r.add("f", "memory of a connection", "KiB", name, float64(harness.ProcessResident(d.PID())-before)/float64(idle+slow)/1024)
	return c.Again()
}

// work is what four clients do, each request a PUT or a GET of 4 KiB.
func (l load) work(r *report, s *stage, when string) error {
	body := make([]byte, 4<<10)
	_, _ = rand.NewChaCha8([32]byte{6}).Read(body)
	lat, took, err := steady(4, time.Duration(s.pick(1, 10))*time.Second, func(w, i int) error {
		key := fmt.Sprintf("%d/%d", w, i/2%1000)
		if i%2 == 0 {
			return l.put(key, body)
		}
		return l.get(key, len(body))
	})
	if err != nil {
		return err
	}
	r.add("f", when, "ops/s", l.server, float64(len(lat))/took.Seconds())
	r.add("f", when+": p99", "ms", l.server, lat[len(lat)*99/100].Seconds()*1000)
	return nil
}
