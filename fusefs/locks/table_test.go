package locks

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// story plays what happens on a table, with locks written as in TestSet.
type story struct {
	t       *testing.T
	table   Table
	waiters map[string]*waiter
}

var record1, record2, whole1 = File{1, Record}, File{2, Record}, File{1, Whole}

func newStory(t *testing.T) *story { return &story{t: t, waiters: map[string]*waiter{}} }

func (s *story) try(f File, lock string) {
	s.t.Helper()
	_, held := s.table.Try(f, parseOne(s.t, lock))
	require.False(s.t, held, lock)
}

// refused requires that the other lock is in the way.
func (s *story) refused(f File, lock, by string) {
	s.t.Helper()
	got, held := s.table.Try(f, parseOne(s.t, lock))
	require.True(s.t, held, lock)
	require.Equal(s.t, by, format([]Lock{got}))
}

func (s *story) waits(f File, lock string) {
	s.t.Helper()
	w, err := s.table.begin(f, parseOne(s.t, lock), true)
	require.NoError(s.t, err, lock)
	require.NotNil(s.t, w, "%s does not wait", lock)
	s.waiters[lock] = w
}

func (s *story) fails(f File, lock string, process bool, want error) {
	s.t.Helper()
	w, err := s.table.begin(f, parseOne(s.t, lock), process)
	require.Nil(s.t, w, lock)
	require.ErrorIs(s.t, err, want, lock)
}

// served takes away the waiters that have been given their locks, and requires the others to wait still.
func (s *story) served(locks ...string) {
	s.t.Helper()
	for _, lock := range locks {
		require.Contains(s.t, s.waiters, lock)
		select {
		case err := <-s.waiters[lock].done:
			require.NoError(s.t, err, lock)
		default:
			s.t.Fatalf("%s still waits", lock)
		}
		delete(s.waiters, lock)
	}
	for lock, w := range s.waiters {
		require.Empty(s.t, w.done, "%s has been answered", lock)
	}
}

func (s *story) empty() {
	s.t.Helper()
	held, waiting := s.table.Len()
	require.Zero(s.t, held)
	require.Zero(s.t, waiting)
	require.Empty(s.t, s.table.files)
	require.Empty(s.t, s.table.waiting)
}

func TestRefusedUpgradeKeepsRecordLock(t *testing.T) {
	s := newStory(t)
	s.try(record1, "a:r0-9")
	s.try(record1, "b:r5-9")
	s.refused(record1, "a:w0-9", "b:r5-9")
	s.refused(record1, "b:w0-4", "a:r0-9")
	require.Equal(t, "a:r0-9 b:r5-9", format(s.table.files[record1].held))
	got, found := s.table.Test(record1, parseOne(t, "b:w0-9"))
	require.True(t, found)
	require.Equal(t, "a:r0-9", format([]Lock{got}))
	s.table.Release(record1, Owner{1, 'a'})
	s.try(record1, "b:w0-9")
	s.table.Release(record1, Owner{1, 'b'})
	s.empty()
}

func TestRefusedChangeLosesFlock(t *testing.T) {
	s := newStory(t)
	s.try(whole1, "a:r0-$")
	s.try(whole1, "b:r0-$")
	s.refused(whole1, "a:w0-$", "b:r0-$")
	require.Equal(t, "b:r0-$", format(s.table.files[whole1].held))
	s.try(record1, "c:w0-$") // the other kind
	s.table.ReleaseMount(1)
	s.empty()
}

func TestWaitersAreServedInOrder(t *testing.T) {
	s := newStory(t)
	s.try(record1, "a:w0-9")
	s.waits(record1, "b:w0-4")
	s.waits(record1, "c:r0-9")
	s.waits(record1, "d:r5-9")
	s.waits(record1, "e:w5-5")
	s.served()
	s.try(record1, "a:u5-9")
	s.served("d:r5-9") // c still wants what a and b have, e what d has
	s.try(record1, "a:u0-9")
	s.served("b:w0-4")
	s.try(record1, "f:r6-9") // nothing held is in the way
	s.table.Release(record1, Owner{1, 'b'})
	s.served("c:r0-9")
	s.table.Release(record1, Owner{1, 'c'})
	s.table.Release(record1, Owner{1, 'd'})
	s.served("e:w5-5")
	s.table.Release(record1, Owner{1, 'e'})
	s.table.Release(record1, Owner{1, 'f'})
	s.empty()
}

func TestDowngradeServes(t *testing.T) {
	s := newStory(t)
	s.try(whole1, "a:w0-$")
	s.waits(whole1, "b:r0-$")
	s.waits(whole1, "c:w0-$")
	s.try(whole1, "a:r0-$")
	s.served("b:r0-$")
	s.waits(whole1, "b:w0-$") // gives up its lock, and stands behind c
	s.table.Release(whole1, Owner{1, 'a'})
	s.served("c:w0-$")
	s.table.Release(whole1, Owner{1, 'c'})
	s.served("b:w0-$")
	s.table.Release(whole1, Owner{1, 'b'})
	s.empty()
}

func TestDeadlock(t *testing.T) {
	s := newStory(t)
	s.try(record1, "a:w0-0")
	s.try(record2, "b:w0-0")
	s.try(record1, "c:w1-1")
	s.waits(record2, "a:r0-9")
	s.waits(record1, "b:r1-1")
	s.fails(record1, "c:w0-0", true, ErrDeadlock) // for a, who waits for b, who waits for c
	s.fails(record1, "b:w0-0", true, ErrDeadlock)
	s.try(record1, "c:u1-1")
	s.served("b:r1-1")
	s.table.Release(record2, Owner{1, 'b'})
	s.served("a:r0-9")
}

// Two readers who both want to write: the second is told.
func TestDeadlockOfUpgrades(t *testing.T) {
	s := newStory(t)
	s.try(record1, "a:r0-9")
	s.try(record1, "b:r0-9")
	s.waits(record1, "a:w0-9")
	s.fails(record1, "b:w0-9", true, ErrDeadlock)
	s.table.Release(record1, Owner{1, 'b'})
	s.served("a:w0-9")
}

// A circle that closes when a lock changes hands is found then.
func TestDeadlockAfterService(t *testing.T) {
	s := newStory(t)
	s.try(record1, "a:r0-0")
	s.try(record1, "b:r0-0")
	s.try(record2, "c:w0-0")
	s.waits(record1, "c:w0-0") // for a
	s.waits(record2, "b:w0-0") // for c, who waits for a only, as far as one looks
	s.table.Release(record1, Owner{1, 'a'})
	require.ErrorIs(t, <-s.waiters["c:w0-0"].done, ErrDeadlock)
	delete(s.waiters, "c:w0-0")
	s.served()
}

func TestNoDeadlockWithoutProcesses(t *testing.T) {
	s := newStory(t)
	for _, f := range []File{record1, whole1} {
		w, err := s.table.begin(f, parseOne(t, "a:w0-9"), false)
		require.Nil(t, w)
		require.NoError(t, err)
		s.try(File{2, f.Kind}, "b:w0-9")
		first, err := s.table.begin(File{2, f.Kind}, parseOne(t, "a:w0-9"), f.Kind == Whole)
		require.NoError(t, err)
		second, err := s.table.begin(f, parseOne(t, "b:w0-9"), f.Kind == Whole)
		require.NoError(t, err)
		require.ErrorIs(t, s.table.abandon(f, second), ErrInterrupted)
		s.table.Release(File{2, f.Kind}, Owner{1, 'b'})
		require.NoError(t, <-first.done)
		s.table.ReleaseMount(1)
		s.empty()
	}
}

func TestLeaving(t *testing.T) {
	var table Table
	o := Owner{1, 2}
	_, known := table.IsLeaving(o)
	require.False(t, known)
	for _, forget := range []func(){
		func() { table.Try(record1, Lock{Owner: o, Mode: Read}) },
		func() { table.Release(record1, o) },
		func() { table.ReleaseMount(1) },
	} {
		table.Leaving(o)
		leaving, known := table.IsLeaving(o)
		require.True(t, leaving && known)
		table.Stays(o)
		leaving, known = table.IsLeaving(o)
		require.True(t, !leaving && known)
		forget()
		_, known = table.IsLeaving(o)
		require.False(t, known)
	}
}

func TestInterrupted(t *testing.T) {
	var table Table
	a, b := Lock{Owner: Owner{1, 1}, Mode: Write, Last: End}, Lock{Owner: Owner{2, 1}, Mode: Write, Last: End}
	require.NoError(t, table.Wait(nil, whole1, a, true))
	cancel := make(chan struct{})
	close(cancel)
	require.ErrorIs(t, table.Wait(cancel, whole1, b, true), ErrInterrupted)
	_, waiting := table.Len()
	require.Zero(t, waiting)
	table.ReleaseMount(1)
	require.NoError(t, table.Wait(nil, whole1, b, true))
}

// Many take turns; nobody is forgotten, and no two are inside at once.
func TestExclusion(t *testing.T) {
	var table Table
	var wg sync.WaitGroup
	inside := 0 // not atomic: the race detector looks on
	for i := range 50 {
		wg.Go(func() {
			l := Lock{Owner: Owner{uint64(i % 3), uint64(i)}, Mode: Write, Start: 5, Last: uint64(5 + i)}
			for range 40 {
				if err := table.Wait(nil, record1, l, true); err != nil {
					t.Error(err)
				}
				inside++
				table.Release(record1, l.Owner)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 2000, inside)
	held, waiting := table.Len()
	require.Zero(t, held+waiting)
}
