// Command bench measures k3fs beside the disk's own file system, go-fuse's loopback example over it,
// and S3 servers whose endpoints it is given, in one run with repetitions and medians.
//
//	go run ./e2e/bench [-quick] [-only a,b,c,d,e,f,g,h,i] [-reps 3] [-dir DIR] [-peer NAME=HOST:PORT,ACCESS,SECRET]
//
// The rows are those of the project's plan: (a) large files, (b) metadata and small files, (c) S3
// objects, (d) listings, (e) how (b) and (d) change with the number of entries, (f) a client beside ten
// thousand idle and ten thousand slow connections, (g) a bucket with locks beside a plain one, (h) one
// tenant beside another with 64 clients, (i) one directory of a thousand to a million files. Every target does the
// same work in turn within each repetition, so that a slow spell of the machine hits them all; read
// ratios, not numbers. Clients share the machine with the servers.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// config is what the flags say.
type config struct {
	quick  bool
	only   string
	reps   int
	dir    string
	format string
	scale  string
	peers  []peer
	mounts []target
}

// scaleDefault are the numbers of entries of row (e).
const scaleDefault = "10000,1000000"

func main() {
	var c config
	flag.BoolVar(&c.quick, "quick", false, "a smoke run: small sizes, one repetition")
	flag.StringVar(&c.only, "only", "a,b,c,d,e,f,g,h,i", "rows to measure")
	flag.IntVar(&c.reps, "reps", 0, "repetitions (default 3, or 1 with -quick)")
	flag.StringVar(&c.dir, "dir", os.TempDir(), "directory on the disk to measure")
	flag.StringVar(&c.format, "benchfmt", "", "also write every sample to this file, in the format that benchstat reads")
	flag.StringVar(&c.scale, "scale", "", "numbers of entries of rows e (default 10000,1000000) and i (default 1000,10000,100000,1000000)")
	flag.Func("peer", "NAME=HOST:PORT,ACCESS,SECRET of a running S3 server to measure too; repeatable", func(s string) error {
		p, err := parsePeer(s)
		c.peers = append(c.peers, p)
		return err
	})
	flag.Func("mount", "NAME=DIR of a file system to measure too in rows a and b; repeatable", func(s string) error {
		name, dir, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("want NAME=DIR, got %q", s)
		}
		c.mounts = append(c.mounts, target{name: name, dir: dir})
		return nil
	})
	tenant := flag.String("neighbour", "", "be the clients of this tenant of row h, at the address that follows (the benchmark starts itself so)")
	flag.Parse()
	if *tenant != "" {
		if err := beNeighbour(*tenant, flag.Arg(0)); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if c.reps == 0 {
		c.reps = c.pick(1, 3)
	}
	if err := run(c); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// pick is one value for -quick and one for the real run.
func (c config) pick(quick, full int) int {
	if c.quick {
		return quick
	}
	return full
}

// counts are the numbers of entries to measure at: what -scale says, or else few or many.
func (c config) counts(many string) ([]int, error) {
	text := c.scale
	if text == "" {
		text = many
		if c.quick {
			text = "1000,5000"
		}
	}
	var counts []int
	for _, s := range strings.Split(text, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, fmt.Errorf("-scale: %w", err)
		}
		counts = append(counts, n)
	}
	return counts, nil
}

func run(c config) (err error) {
	counts, err := c.counts(scaleDefault)
	if err != nil {
		return err
	}
	st, err := newStage(c)
	if err != nil {
		return err
	}
	defer st.close()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		st.close()
		os.Exit(130)
	}()
	r := newReport(c.reps)
	defer func() { err = r.finish(err, c.format) }()
	rows := []struct {
		id  string
		run func(*stage, *report) error
	}{{"a", largeFiles}, {"b", metadata}, {"c", objects}, {"d", listings}, {"e", scales}, {"f", crowds}, {"g", locks}, {"h", fairness}, {"i", directories}}
	for _, row := range rows {
		if !slices.Contains(strings.Split(c.only, ","), row.id) {
			continue
		}
		if rowErr := row.run(st, r); rowErr != nil {
			err = errors.Join(err, fmt.Errorf("row %s: %w", row.id, rowErr))
		}
		base := "k3fs"
		switch row.id {
		case "e":
			base = thousands(counts[len(counts)-1]) // against itself with fewer entries
		case "g":
			base = "locked"
		}
		r.print(row.id, base)
		st.printMemory()
	}
	return err
}
