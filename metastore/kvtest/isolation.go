package kvtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"k3fs/metastore"
)

// testViewSnapshot reads two counters that are always raised together.
func testViewSnapshot(t *testing.T, s metastore.Store) {
	set(t, s, "x", "0", "y", "0")
	var g errgroup.Group
	const rounds = 300
	g.Go(func() error {
		for i := range rounds {
			d := metastore.Ordered
			if i%50 == 0 {
				d = metastore.Durable
			}
			err := s.Update(t.Context(), d, func(txn metastore.Txn) error {
				v := fmt.Appendf(nil, "%d", i)
				return errors.Join(txn.Set([]byte("x"), v), txn.Set([]byte("y"), v))
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	for range 2 {
		g.Go(func() error {
			for range rounds {
				err := s.View(t.Context(), func(r metastore.Reader) error {
					x, err := r.Get([]byte("x"))
					if err != nil {
						return err
					}
					pairs, err := dump(r, metastore.Range{})
					if err != nil {
						return err
					}
					y, err := r.Get([]byte("y"))
					if err != nil {
						return err
					}
					if string(x) != string(y) || !slices.Equal(pairs, []string{"x=" + string(x), "y=" + string(x)}) {
						return fmt.Errorf("x=%s, then %v, then y=%s", x, pairs, y)
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
}

// increment adds one to a counter.
func increment(key []byte) func(metastore.Txn) error {
	return func(txn metastore.Txn) error {
		n, err := counter(txn, key)
		if err != nil {
			return err
		}
		return txn.Set(key, binary.BigEndian.AppendUint64(nil, n+1))
	}
}

func counter(r metastore.Reader, key []byte) (uint64, error) {
	v, err := r.Get(key)
	if errors.Is(err, metastore.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(v), nil
}

func testLostUpdate(t *testing.T, s metastore.Store) {
	const workers, each = 8, 100
	var g errgroup.Group
	for w := range workers {
		g.Go(func() error {
			for i := range each {
				d := metastore.Ordered
				if (i+w)%25 == 0 {
					d = metastore.Durable
				}
				if err := s.Update(t.Context(), d, increment([]byte("n"))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	require.NoError(t, s.View(t.Context(), func(r metastore.Reader) error {
		n, err := counter(r, []byte("n"))
		require.EqualValues(t, workers*each, n)
		return err
	}))
}

// race runs two updates at once. Each waits a moment, after its first run, for the other to have read
// too: an engine that runs them one after the other lets the moment pass.
func race(t *testing.T, s metastore.Store, a, b func(metastore.Txn) error) {
	t.Helper()
	var reading sync.WaitGroup
	reading.Add(2)
	both := make(chan struct{})
	go func() {
		reading.Wait()
		close(both)
	}()
	run := func(fn func(metastore.Txn) error) error {
		first := true
		return s.Update(t.Context(), metastore.Ordered, func(txn metastore.Txn) error {
			err := fn(txn)
			if first {
				first = false
				reading.Done()
				select {
				case <-both:
				case <-time.After(2 * time.Millisecond):
				}
			}
			return err
		})
	}
	var g errgroup.Group
	for _, fn := range []func(metastore.Txn) error{a, b} {
		g.Go(func() error { return run(fn) })
	}
	require.NoError(t, g.Wait())
	<-both
}

// testWriteSkew: two that each need the other to stay on call can't both leave.
func testWriteSkew(t *testing.T, s metastore.Store) {
	leave := func(me, other string) func(metastore.Txn) error {
		return func(txn metastore.Txn) error {
			if _, err := txn.Get([]byte(other)); errors.Is(err, metastore.ErrNotFound) {
				return nil
			}
			return txn.Delete([]byte(me))
		}
	}
	for range 200 {
		set(t, s, "a", "on call", "b", "on call")
		race(t, s, leave("a", "b"), leave("b", "a"))
		require.Len(t, dumpAll(t, s), 1)
	}
}

// empty tells whether a directory has no entries.
func empty(r metastore.Reader, dir string) (bool, error) {
	none := true
	rg := metastore.Range{From: []byte(dir + "/"), To: []byte(dir + "0"), Page: 1, KeysOnly: true}
	err := r.Scan(rg, func(_, _ []byte) (bool, error) {
		none = false
		return false, nil
	})
	return none, err
}

// testPhantom: a directory is removed if empty while a file is created inside it. Neither transaction
// writes a key that the other one read by Get.
func testPhantom(t *testing.T, s metastore.Store) {
	rmdir := func(txn metastore.Txn) error {
		none, err := empty(txn, "dir")
		if err != nil || !none {
			return err
		}
		return txn.Delete([]byte("dir"))
	}
	create := func(txn metastore.Txn) error {
		_, err := txn.Get([]byte("dir"))
		if errors.Is(err, metastore.ErrNotFound) {
			return nil
		}
		return errors.Join(err, txn.Set([]byte("dir/file"), nil))
	}
	for i := range 200 {
		set(t, s, "dir", "")
		remove(t, s, "dir/file")
		if i%20 == 0 {
			require.NoError(t, s.Sync(t.Context()))
		}
		race(t, s, rmdir, create)
		got := dumpAll(t, s)
		require.True(t, len(got) == 0 || slices.Equal(got, []string{"dir=", "dir/file="}), "%q", got)
	}
}

// testPhantomCount: each of several adds a key named after how many there are.
func testPhantomCount(t *testing.T, s metastore.Store) {
	var g errgroup.Group
	const workers, each = 4, 40
	for range workers {
		g.Go(func() error {
			for range each {
				err := s.Update(t.Context(), metastore.Ordered, func(txn metastore.Txn) error {
					all, err := dump(txn, metastore.Range{})
					if err != nil {
						return err
					}
					return txn.Set(fmt.Appendf(nil, "%06d", len(all)), []byte("v"))
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	require.Len(t, dumpAll(t, s), workers*each)
}

// testStress moves money between accounts, and checks the sum all the time.
func testStress(t *testing.T, s metastore.Store) {
	const accounts, start, workers, each = 12, 100, 6, 150
	account := func(i int) []byte { return fmt.Appendf(nil, "account/%d", i) }
	for i := range accounts {
		set(t, s, string(account(i)), string(binary.BigEndian.AppendUint64(nil, start)))
	}
	sum := func(r metastore.Reader) error {
		total := uint64(0)
		err := r.Scan(metastore.Range{From: []byte("account/"), To: []byte("account0")}, func(_, v []byte) (bool, error) {
			total += binary.BigEndian.Uint64(v)
			return true, nil
		})
		if err == nil && total != accounts*start {
			return fmt.Errorf("the sum is %d", total)
		}
		return err
	}
	move := func(from, to []byte) func(metastore.Txn) error {
		return func(txn metastore.Txn) error {
			a, err := counter(txn, from)
			if err != nil || a == 0 {
				return err
			}
			b, err := counter(txn, to)
			if err != nil {
				return err
			}
			return errors.Join(txn.Set(from, binary.BigEndian.AppendUint64(nil, a-1)),
				txn.Set(to, binary.BigEndian.AppendUint64(nil, b+1)))
		}
	}
	var g errgroup.Group
	for w := range workers {
		g.Go(func() error {
			for i := range each {
				d := metastore.Ordered
				if i%30 == w {
					d = metastore.Durable
				}
				from, to := (w*7+i)%accounts, (w+i*5+1)%accounts
				if from == to {
					continue
				}
				if err := s.Update(t.Context(), d, move(account(from), account(to))); err != nil {
					return err
				}
				if i%10 == 0 {
					if err := s.View(t.Context(), sum); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	require.NoError(t, s.View(t.Context(), sum))
}

// testModel runs random operations on the store and on a map.
func testModel(t *testing.T, s metastore.Store) {
	rapid.Check(t, func(rt *rapid.T) {
		require.NoError(t, clearAll(t, s))
		runModel(t, rt, s, map[string]string{}, 30, nil)
	})
}

func clearAll(t testing.TB, s metastore.Store) error {
	return s.Update(t.Context(), metastore.Ordered, func(txn metastore.Txn) error {
		return txn.Scan(metastore.Range{KeysOnly: true}, func(k, _ []byte) (bool, error) { return true, txn.Delete(k) })
	})
}
