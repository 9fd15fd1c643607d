package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/errgroup"

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

// spells are how often row h measures both by turns: without the other tenant, and beside it.
const spells = 5

// fairness is row (h): a tenant with one client alone, and beside another tenant with 64, by turns. Each has a process
// of its own: once with priorities as if both were on other machines, so that what competes is the server, and once with
// the same priority for all.
func fairness(s *stage, r *report) error {
	for rep := range s.reps {
		for _, apart := range []bool{true, false} {
			if err := s.neighbours(r, rep, apart); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *stage) neighbours(r *report, rep int, apart bool) (err error) {
	dir := filepath.Join(s.root, fmt.Sprintf("fair-%d-%v", rep, apart))
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
	niceQuiet, niceLoud, as := 0, 0, "64"
	if apart {
		niceQuiet, niceLoud, as = -20, 19, "64 elsewhere"
	}
	quiet, err := startNeighbour(d.S3, "quiet", niceQuiet)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, quiet.end()) }()
	loud, err := startNeighbour(d.S3, "loud", niceLoud)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, loud.end()) }()
	for _, what := range []string{"PUT", "GET"} {
		rate, _, err := loud.spell(what, s.spell())
		if err != nil {
			return err
		}
		r.add("h", as+" alone: "+what, "ops/s", "k3fs", rate)
	}
	for range s.pick(1, spells) {
		for _, what := range []string{"PUT", "GET"} {
			if err := s.turn(r, quiet, loud, what, as); err != nil {
				return err
			}
		}
	}
	return nil
}

// spell is how long one measurement of row h takes.
func (s *stage) spell() time.Duration { return time.Duration(s.pick(300, 2000)) * time.Millisecond }

// turn measures one client without the others and beside them.
func (s *stage) turn(r *report, quiet, loud *neighbour, what, as string) error {
	rate, before, err := quiet.spell(what, s.spell())
	if err != nil {
		return err
	}
	r.add("h", what+" of one, alone", "ops/s", "k3fs", rate)
	r.add("h", what+" of one, alone: p99", "ms", "k3fs", before)
	if err := loud.say("both"); err != nil {
		return err
	}
	time.Sleep(s.spell() / 4)
	rate, beside, err := quiet.spell(what, s.spell())
	others, _, restErr := loud.rest()
	if err := errors.Join(err, restErr); err != nil {
		return err
	}
	r.add("h", what+" of one, beside "+as, "ops/s", "k3fs", rate)
	r.add("h", what+" of one, beside "+as+": p99", "ms", "k3fs", beside)
	r.add("h", what+" of one, beside "+as+": p99 by that alone", "times", "k3fs", beside/before)
	r.add("h", as+" beside that one's "+what, "ops/s", "k3fs", others)
	return nil
}

// neighbour is the process of a tenant's clients.
type neighbour struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startNeighbour starts one. A nice below 0 needs privileges, and counts for nothing without them.
func startNeighbour(at, name string, nice int) (*neighbour, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	n := &neighbour{Cmd: exec.Command("nice", "-n", fmt.Sprint(nice), self, "-neighbour", name, at)}
	n.Stderr = os.Stderr
	if n.in, err = n.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := n.StdoutPipe()
	if err != nil {
		return nil, err
	}
	n.out = bufio.NewReader(out)
	if err := n.Start(); err != nil {
		return nil, err
	}
	_, err = n.out.ReadString('\n') // "ready": its objects are there
	return n, err
}

// say makes its clients work: PUT, GET, or both by turns.
func (n *neighbour) say(what string) error {
	_, err := fmt.Fprintln(n.in, what)
	return err
}

// rest makes them stop, and returns how many requests a second they made since they began, and the p99 in ms.
func (n *neighbour) rest() (rate, p99 float64, err error) {
	if err := n.say("rest"); err != nil {
		return 0, 0, err
	}
	_, err = fmt.Fscanln(n.out, &rate, &p99)
	return rate, p99, err
}

func (n *neighbour) spell(what string, d time.Duration) (rate, p99 float64, err error) {
	if err := n.say(what); err != nil {
		return 0, 0, err
	}
	time.Sleep(d)
	return n.rest()
}

func (n *neighbour) end() error {
	n.in.Close()
	return n.Wait()
}

// beNeighbour is the process of a tenant's clients: they do what standard input says, until it ends.
func beNeighbour(name, at string) error {
	clients, access := 1, "QUIETQUIETQUIETQUIET"
	if name == "loud" {
		clients, access = loudClients, "LOUDLOUDLOUDLOUDLOUD"
	}
	c, err := minio.New(at, &minio.Options{Creds: credentials.NewStaticV4(access, name+"-secret-key", ""), Region: harness.Region,
		Transport: &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true}})
	if err != nil {
		return err
	}
	l := load{c, "k3fs", name}
	if err := l.MakeBucket(context.Background(), name, minio.MakeBucketOptions{Region: harness.Region}); err != nil {
		return err
	}
	if err := each(clients, func(client int) error {
		for i := range neighbourKeys {
			if err := l.neighbourly("PUT", client, i); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	fmt.Println("ready")
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		if err := l.untilRest(orders, clients); err != nil {
			return err
		}
	}
	return orders.Err()
}

// untilRest follows one order until the next line, which is "rest", and answers it.
func (l load) untilRest(orders *bufio.Scanner, clients int) error {
	what := orders.Text()
	var over atomic.Bool
	lat := make([][]time.Duration, clients)
	began := time.Now()
	ended := make(chan error, 1)
	go func() {
		ended <- each(clients, func(client int) (err error) {
			for i := 0; !over.Load() && err == nil; i++ {
				t := time.Now()
				err = l.neighbourly(what, client, i)
				lat[client] = append(lat[client], time.Since(t))
			}
			return err
		})
	}()
	orders.Scan()
	over.Store(true)
	took := time.Since(began)
	if err := <-ended; err != nil {
		return err
	}
	all := slices.Concat(lat...)
	slices.Sort(all)
	if len(all) == 0 {
		return errors.New("not one request was answered")
	}
	fmt.Println(float64(len(all))/took.Seconds(), all[len(all)*99/100].Seconds()*1000)
	return nil
}

// each does work for all clients at once.
func each(clients int, work func(client int) error) error {
	var g errgroup.Group
	for client := range clients {
		g.Go(func() error { return work(client) })
	}
	return g.Wait()
}

// neighbourKeys is how many objects each client has, of 4 KiB each.
const neighbourKeys = 20

// neighbourly is the i-th request of a client.
func (l load) neighbourly(what string, client, i int) error {
	if what == "both" {
		what = []string{"PUT", "GET"}[i%2]
	}
	key, body := fmt.Sprintf("%d/%d", client, i%neighbourKeys), make([]byte, 4<<10)
	if what == "GET" {
		return l.get(key, len(body))
	}
	_, _ = rand.NewChaCha8([32]byte{byte(client)}).Read(body)
	return l.put(key, body)
}
