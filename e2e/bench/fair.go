package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// neighbours are the accounts of row h, each of another tenant.
const neighbours = `[[account]]
tenant = "quiet"
name = "worker"
access_key = "QUIETQUIETQUIETQUIET"
secret_key = "quiet-secret-key"
role = "readwrite"
[[account]]
tenant = "loud"
name = "worker"
access_key = "LOUDLOUDLOUDLOUDLOUD"
secret_key = "loud-secret-key"
role = "readwrite"
`

// loudClients is how many clients the other tenant has.
const loudClients = 64

// fairness is row (h): a tenant with one client alone, and beside another tenant with 64. Theirs run in a process of
// their own with the lowest priority, as if on another machine: what competes is the server.
func fairness(s *stage, r *report) error {
	for rep := range s.reps {
		if err := s.neighbour(r, rep); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) neighbour(r *report, rep int) (err error) {
	dir := filepath.Join(s.root, fmt.Sprintf("fair-%d", rep))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	accounts := filepath.Join(dir, "accounts.toml")
	if err := os.WriteFile(accounts, []byte(neighbours), 0o600); err != nil {
		return err
	}
	d, err := harness.NewDaemon(harness.Options{Dir: dir, Env: []string{"K3FS_ACCOUNTS=" + accounts}})
	if err != nil {
		return err
	}
	if err := d.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()); d.Close() }()
	quiet, err := newNeighbour(d.S3, "QUIETQUIETQUIETQUIET", "quiet-secret-key", "quiet", 1)
	if err != nil {
		return err
	}
	if err := quiet.serve(r, s, "alone"); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	loud := exec.Command(self, "-loud", d.S3)
	loud.Stderr = os.Stderr
	hold, err := loud.StdinPipe()
	if err != nil {
		return err
	}
	out, err := loud.StdoutPipe()
	if err != nil {
		return err
	}
	if err := loud.Start(); err != nil {
		return err
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, loud.Process.Pid, 19); err != nil {
		return err
	}
	time.Sleep(time.Second)
	err = quiet.serve(r, s, fmt.Sprintf("beside %d clients of another tenant", loudClients))
	hold.Close()
	said, _ := io.ReadAll(out)
	err = errors.Join(err, loud.Wait())
	var rate float64
	if _, scanErr := fmt.Sscan(string(said), &rate); err == nil {
		err = scanErr
	}
	r.add("h", "the other tenant", "ops/s", "k3fs", rate)
	return err
}

func newNeighbour(at, access, secret, bucket string, clients int) (load, error) {
	c, err := minio.New(at, &minio.Options{Creds: credentials.NewStaticV4(access, secret, ""), Region: harness.Region,
		Transport: &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true}})
	l := load{c, "k3fs", bucket}
	if err == nil {
		err = l.MakeBucket(context.Background(), bucket, minio.MakeBucketOptions{Region: harness.Region})
	}
	return l, err
}

// serve is what one client does, each request a PUT or a GET of 4 KiB.
func (l load) serve(r *report, s *stage, when string) error {
	body := make([]byte, 4<<10)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(body)
	for _, what := range []string{"PUT", "GET"} {
		lat, took, err := steady(1, time.Duration(s.pick(1, 6))*time.Second, func(_, i int) error {
			key := fmt.Sprintf("%d", i%1000)
			if what == "PUT" {
				return l.put(key, body)
			}
			return l.get(fmt.Sprintf("%d", i%100), len(body))
		})
		if err != nil {
			return err
		}
		r.add("h", what+" "+when, "ops/s", l.server, float64(len(lat))/took.Seconds())
		r.add("h", what+" "+when+": p99", "ms", l.server, lat[len(lat)*99/100].Seconds()*1000)
	}
	return nil
}

// beLoud is the process of the other tenant's clients: they work until standard input ends.
func beLoud(at string) error {
	l, err := newNeighbour(at, "LOUDLOUDLOUDLOUDLOUD", "loud-secret-key", "loud", loudClients)
	if err != nil {
		return err
	}
	body := make([]byte, 4<<10)
	var over atomic.Bool
	var done atomic.Int64
	errs := make([]error, loudClients)
	var wg sync.WaitGroup
	began := time.Now()
	for w := range loudClients {
		wg.Go(func() {
			for i := 0; !over.Load() && errs[w] == nil; i++ {
				key := fmt.Sprintf("%d/%d", w, i/2%100)
				if i%2 == 0 {
					errs[w] = l.put(key, body)
				} else {
					errs[w] = l.get(key, len(body))
				}
				done.Add(1)
			}
		})
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	over.Store(true)
	wg.Wait()
	fmt.Println(float64(done.Load()) / time.Since(began).Seconds())
	return errors.Join(errs...)
}
