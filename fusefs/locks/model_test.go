package locks

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	modelBytes  = 12
	modelOwners = 5
)

// model is the same table, said as simply as possible: for each kind, who has what on each byte.
type model [2][modelBytes][modelOwners]Mode

func (m *model) conflict(k Kind, l Lock) bool {
	for at := l.Start; at <= l.Last; at++ {
		for o, mode := range m[k][at] {
			if o != int(l.ID) && mode != Unlock && (mode == Write || l.Mode == Write) {
				return true
			}
		}
	}
	return false
}

func (m *model) set(k Kind, l Lock) {
	for at := l.Start; at <= l.Last; at++ {
		m[k][at][l.ID] = l.Mode
	}
}

// try is what Table.Try does.
func (m *model) try(k Kind, l Lock) bool {
	if k == Whole && l.Mode != m[k][0][l.ID] {
		m.set(k, Lock{Owner: l.Owner, Last: modelBytes - 1})
	}
	if l.Mode != Unlock && m.conflict(k, l) {
		return false
	}
	m.set(k, l)
	return true
}

// pending is a request that the table was seen to make wait.
type pending struct {
	file File
	w    *waiter
}

type modelRun struct {
	t       *testing.T
	rng     *rand.Rand
	table   Table
	model   model
	waiting []pending // in order of arrival
}

func (r *modelRun) lock() (File, Lock) {
	f := File{1, Kind(r.rng.IntN(2))}
	l := Lock{Owner: Owner{0, r.rng.Uint64N(modelOwners)}, Mode: Mode(r.rng.IntN(3)), Last: modelBytes - 1}
	if f.Kind == Record {
		l.Start = r.rng.Uint64N(modelBytes)
		l.Last = l.Start + r.rng.Uint64N(modelBytes-l.Start)
	}
	return f, l
}

// busy reports whether the owner waits on the file: as a process with one thread it does nothing else then.
func (r *modelRun) busy(o Owner) bool {
	for _, p := range r.waiting {
		if p.w.want.Owner == o {
			return true
		}
	}
	return false
}

func (r *modelRun) step() {
	f, l := r.lock()
	if r.busy(l.Owner) {
		if r.rng.IntN(8) == 0 {
			r.interrupt(l.Owner)
		}
		return
	}
	switch r.rng.IntN(4) {
	case 0:
		_, found := r.table.Test(f, l)
		require.Equal(r.t, l.Mode != Unlock && r.model.conflict(f.Kind, l), found)
	case 1:
		_, held := r.table.Try(f, l)
		require.Equal(r.t, r.model.try(f.Kind, l), !held)
	case 2:
		w, err := r.table.begin(f, l, true)
		require.Equal(r.t, r.model.try(f.Kind, l), w == nil && err == nil)
		if w != nil {
			r.waiting = append(r.waiting, pending{f, w})
		}
	case 3:
		r.release(f, l.Owner)
	}
	r.settle()
	r.compare()
}

func (r *modelRun) release(f File, o Owner) {
	r.table.Release(f, o)
	r.model.set(f.Kind, Lock{Owner: o, Last: modelBytes - 1})
}

func (r *modelRun) interrupt(o Owner) {
	for i, p := range r.waiting {
		if p.w.want.Owner == o {
			require.ErrorIs(r.t, r.table.abandon(p.file, p.w), ErrInterrupted)
			r.waiting = slices.Delete(r.waiting, i, i+1)
			return
		}
	}
}

// settle gives the first waiter whom the model has nothing against its lock, until there is none; the table
// must have done so. Another may have learnt that it is in a deadlock; the rest waits.
func (r *modelRun) settle() {
	for i := 0; i < len(r.waiting); i++ {
		p := r.waiting[i]
		if r.model.conflict(p.file.Kind, p.w.want) {
			continue
		}
		select {
		case err := <-p.w.done:
			require.NoError(r.t, err)
		default:
			require.Fail(r.t, "not served", "%+v", p.w.want)
		}
		r.model.set(p.file.Kind, p.w.want)
		r.waiting = slices.Delete(r.waiting, i, i+1)
		i = -1
	}
	r.waiting = slices.DeleteFunc(r.waiting, func(p pending) bool {
		select {
		case err := <-p.w.done:
			require.ErrorIs(r.t, err, ErrDeadlock, "served too early: %+v", p.w.want)
			return true
		default:
			return false
		}
	})
}

// compare looks at every byte, and that what the table holds is in order and joined.
func (r *modelRun) compare() {
	for _, k := range []Kind{Record, Whole} {
		var got [modelBytes][modelOwners]Mode
		at := r.table.files[File{1, k}]
		if at == nil {
			at = &file{}
		}
		for i, h := range at.held {
			require.LessOrEqual(r.t, h.Start, h.Last)
			if i > 0 && at.held[i-1].Owner == h.Owner {
				before := at.held[i-1]
				require.Less(r.t, before.Last, h.Start, "order")
				require.False(r.t, before.Last+1 == h.Start && before.Mode == h.Mode, "not joined")
			}
			for b := h.Start; b <= h.Last; b++ {
				require.Equal(r.t, Unlock, got[b][h.ID])
				got[b][h.ID] = h.Mode
			}
		}
		require.Equal(r.t, r.model[k], got)
	}
}

// drain lets owners who don't wait end, one by one: then nobody waits for ever.
func (r *modelRun) drain() {
	for range modelOwners {
		for o := range uint64(modelOwners) {
			if owner := (Owner{0, o}); !r.busy(owner) {
				r.release(File{1, Record}, owner)
				r.release(File{1, Whole}, owner)
				r.settle()
			}
		}
	}
	// Waits for flocks are not looked at, so there may be circles with one in it.
	for _, p := range r.waiting {
		if p.file.Kind == Whole {
			r.interrupt(p.w.want.Owner)
			r.drain()
			return
		}
	}
	require.Empty(r.t, r.waiting, "an undetected deadlock")
	held, waiting := r.table.Len()
	require.Zero(r.t, held+waiting)
	require.Empty(r.t, r.table.files)
	require.Empty(r.t, r.table.waiting)
}

func TestAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		r := &modelRun{t: t, rng: rand.New(rand.NewPCG(seed, 1))}
		for range 150 {
			r.step()
		}
		r.drain()
	}
}
