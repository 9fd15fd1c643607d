package namespace

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
)

// What is removed, freed and written while a check reads is no inconsistency, and damage is one.
func TestCheckWhileInUse(t *testing.T) {
	w := full(t)
	before, steps := w.count(t, kExtent), 0
	changing := func(context.Context, int64) error {
		steps++
		for _, name := range []string{"dir/one", "copy", "dir/two"} {
			_, err := w.DeleteObject(bg, "data", name, DeleteOptions{})
			require.NoError(t, err)
		}
		w.put(t, fmt.Sprint("new", steps), storetest.Bytes(100_000, uint64(steps)))
		return w.fs.Reap(bg)
	}
	told := 0
	report, err := w.fs.Check(bg, CheckOptions{Deep: true, Pace: changing, Progress: func(r CheckReport) { told++ }})
	require.NoError(t, err)
	require.Empty(t, report.Problems)
	require.EqualValues(t, before, report.Extents)
	require.Equal(t, report.OfBytes, report.Bytes)
	require.Positive(t, told)
	require.Positive(t, steps)
	requireClean(t, w.kv, w.chunks, w.keys)
}

func TestCheckWhileInUseFindsDamage(t *testing.T) {
	w := full(t)
	w.damaged = true
	require.NoError(t, w.chunks.Sync(bg))
	found := 0
	for _, name := range w.disk.Files() {
		if err := w.disk.Corrupt(name, 3*chunkstore.BlockSize+100, 1); err == nil {
			found++
		}
	}
	require.Positive(t, found)
	report, err := w.fs.Check(bg, CheckOptions{Deep: true})
	require.NoError(t, err)
	require.NotEmpty(t, report.Problems)
	require.Equal(t, "data", report.Problems[0].Code, report.Problems[0].String())
}

// Whoever changes a namespace, a check of what it is at any moment finds nothing.
func TestCheckBesideOthers(t *testing.T) {
	w := full(t)
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			for i := range 300 {
				name := fmt.Sprint("dir/", i%7)
				if _, err := w.PutObject(bg, "data", name, bodyOf(storetest.Bytes(i*400, uint64(i))), PutOptions{}); err != nil {
					return err
				}
				if i%3 == 0 {
					if _, err := w.CopyObject(bg, "data", name, "data", name+"c", CopyOptions{}); err != nil {
						return err
					}
				}
				if i%5 == 0 {
					if _, err := w.DeleteObject(bg, "data", name, DeleteOptions{}); err != nil {
						return err
					}
				}
			}
			return nil
		}()
	}()
	for over := false; !over; {
		select {
		case err := <-done:
			require.NoError(t, err)
			over = true
		default:
		}
		report, err := w.fs.Check(bg, CheckOptions{Deep: true})
		require.NoError(t, err)
		require.Empty(t, report.Problems)
	}
}
