package locks

import (
	"cmp"
	"slices"
)

// Mode is what a lock lets others do.
type Mode uint8

// The modes.
const (
	Unlock Mode = iota // no lock: asking for it gives up what is held
	Read               // shared
	Write              // exclusive
)

// End is the last byte of a range without an end: the largest offset of a file.
const End = 1<<63 - 1

// Owner is who holds a lock: a process or an open file description, by the number that the kernel of a mount
// gives it.
type Owner struct{ Mount, ID uint64 }

// Lock is a lock on the bytes from Start up to and with Last.
type Lock struct {
	Owner
	Mode        Mode
	Start, Last uint64
	PID         uint32 // of the process that took it, for F_GETLK
}

func (l Lock) overlaps(m Lock) bool { return l.Start <= m.Last && m.Start <= l.Last }

// touches reports whether the ranges overlap or adjoin.
func (l Lock) touches(m Lock) bool { return l.Start <= m.Last+1 && m.Start <= l.Last+1 }

// conflict returns the first of the held locks that l has to wait for.
func conflict(held []Lock, l Lock) (Lock, bool) {
	if l.Mode == Unlock {
		return Lock{}, false
	}
	for _, h := range held {
		if h.Owner != l.Owner && (h.Mode == Write || l.Mode == Write) && h.overlaps(l) {
			return h, true
		}
	}
	return Lock{}, false
}

// of returns where the locks of an owner stand. They stand together, in the order of their ranges, behind
// those of owners who came before; if there are none yet, at the end.
func of(held []Lock, o Owner) (from, to int) {
	from = slices.IndexFunc(held, func(h Lock) bool { return h.Owner == o })
	if from < 0 {
		return len(held), len(held)
	}
	for to = from; to < len(held) && held[to].Owner == o; to++ {
	}
	return from, to
}

// set puts l in place of what its owner held in the range, and joins it with its neighbours.
func set(held []Lock, l Lock) []Lock {
	from, to := of(held, l.Owner)
	kept := make([]Lock, 0, to-from+2)
	whole := l
	for _, h := range held[from:to] {
		switch {
		case h.Mode == l.Mode && h.touches(l):
			whole.Start, whole.Last = min(whole.Start, h.Start), max(whole.Last, h.Last)
		case !h.overlaps(l):
			kept = append(kept, h)
		default:
			kept = append(kept, around(h, l)...)
		}
	}
	if l.Mode != Unlock {
		at, _ := slices.BinarySearchFunc(kept, whole, func(a, b Lock) int { return cmp.Compare(a.Start, b.Start) })
		kept = slices.Insert(kept, at, whole)
	}
	return slices.Replace(held, from, to, kept...)
}

// around is what is left of h when l is cut out of it.
func around(h, l Lock) []Lock {
	var rest []Lock
	if h.Start < l.Start {
		left := h
		left.Last = l.Start - 1
		rest = append(rest, left)
	}
	if h.Last > l.Last {
		right := h
		right.Start = l.Last + 1
		rest = append(rest, right)
	}
	return rest
}
