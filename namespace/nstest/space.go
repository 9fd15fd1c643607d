package nstest

import (
	"context"

	"github.com/stretchr/testify/require"

	"k3fs/namespace"
)

// grow makes the session's file hold at least n bytes in the model.
func (s *session) grow(n int) {
	if n > len(s.data) {
		s.data = append(s.data[:len(s.data):len(s.data)], make([]byte, n-len(s.data))...)
	}
}

// allocate is fallocate(2) on a session.
func (x *explorer) allocate(s *session) bool {
	mode := []namespace.AllocMode{namespace.AllocSpace, namespace.AllocPunch, namespace.AllocZero}[x.rng.IntN(3)]
	keep := mode == namespace.AllocPunch || x.rng.IntN(2) == 0
	off, n := x.rng.IntN(len(s.data)+1), 1+x.rng.IntN(40_000)
	x.logf("allocate %s mode %d keep %v %d at %d", s.path, mode, keep, n, off)
	require.NoError(x.t, s.h.Allocate(context.Background(), mode, keep, int64(off), int64(n)), x.story())
	if !keep {
		s.grow(off + n)
	}
	if mode != namespace.AllocSpace && off < len(s.data) {
		clear(s.data[off:min(off+n, len(s.data))])
	}
	s.fresh = true
	return false
}

// copyRange is copy_file_range(2) between two sessions, or within one.
func (x *explorer) copyRange(from, to *session) bool {
	if len(from.data) == 0 {
		return false
	}
	at := x.rng.IntN(len(from.data))
	n := 1 + x.rng.IntN(len(from.data)-at)
	off := x.rng.IntN(len(to.data) + 1)
	if from == to && at < off+n && off < at+n {
		return false
	}
	x.logf("copy range %s %d at %d to %s at %d", from.path, n, at, to.path, off)
	for n > 0 {
		got, err := to.h.CopyFrom(context.Background(), from.h, int64(at), int64(off), int64(n))
		require.NoError(x.t, err, x.story())
		require.Positive(x.t, got, x.story())
		to.grow(off + int(got))
		copy(to.data[off:], from.data[at:at+int(got)])
		at, off, n = at+int(got), off+int(got), n-int(got)
	}
	to.fresh = true
	return false
}

// tmpfile opens a file without a name.
func (x *explorer) tmpfile() bool {
	x.logf("tmpfile")
	_, h, err := x.w.View.Tmpfile(context.Background(), x.w.Bucket, namespace.NewNode{Mode: 0o644}, namespace.OpenFlags{Read: true, Write: true})
	require.NoError(x.t, err, x.story())
	x.sessions = append(x.sessions, &session{h: h, nameless: true})
	return false
}

// link gives the session's file its first name, if that is free.
func (x *explorer) link(s *session, path string) bool {
	if !s.nameless || x.now[path] != "" {
		return false
	}
	dir, name, _ := x.entryOf(path, true)
	x.logf("link %s", path)
	_, err := x.w.View.Link(context.Background(), s.h.Ino(), dir, name)
	require.NoError(x.t, err, x.story())
	s.path, s.nameless = path, false
	x.now[path] = unpublished
	if s.kept != "" {
		x.now[path] = s.kept
	}
	return false
}
