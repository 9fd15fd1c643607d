package nstest

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
	"k3fs/namespace"
)

// paths are the names that an exploration uses; the directory "d" comes and goes with S3's keys.
var paths = []string{"a", "b", "c", "d/a", "d/b"}

// fsckEvery is of how many states one is also checked as "k3fs fsck" does.
const fsckEvery = 8

// session is an open file.
type session struct {
	h     namespace.FileHandle
	path  string // "" once the name leads elsewhere
	data  []byte // what the file holds
	fresh bool   // changes that no commit has

	nameless bool   // it never had a name
	kept     string // what the last commit has of it while it is nameless; "" if nothing
}

// explorer runs operations and remembers what each commit left.
type explorer struct {
	t        testing.TB
	rng      *rand.Rand
	w        *World
	now      state   // what a recovery of all commits would show
	history  []state // after each commit
	durable  int     // the first state of history that a cut may leave
	sessions []*session
	cuts     []cut
	burst    int // steps of a run of writes and syncs that follow
	checked  int

	versioned bool
	locked    bool
	known     tags
	log       []string
}

// Options bound an exploration.
type Options struct {
	Seed   uint64
	Ops    int // operations
	PerOp  int // cuts taken after each operation
	Within int // one in so many disk accesses is cut at; 0 means 4

	Versioned bool // in a bucket that keeps versions, which are part of the state
	Locked    bool // and locks them: locks and holds are part of the state, too
}

// Explore runs operations with power cuts, and returns how many states it opened and checked. The first
// that is wrong fails the test, with the seed and what was done.
func Explore(t testing.TB, o Options) int { return explore(t, NewWorld(t), o) }

func explore(t testing.TB, w *World, o Options) int {
	x := &explorer{t: t, rng: rand.New(rand.NewPCG(o.Seed, 1)), w: w, now: state{}, versioned: o.Versioned, known: tags{}}
	if o.Within == 0 {
		o.Within = 4
	}
	x.logf("seed %d", o.Seed)
	if o.Versioned {
		require.NoError(t, w.keepVersions())
	}
	if o.Locked {
		require.NoError(t, w.View.ChangeLockConfig(context.Background(), bucket, namespace.LockConfig{}))
		x.locked = true
	}
	x.history = []state{maps.Clone(x.recorded())}
	for i := range o.Ops {
		x.step(o)
		if i%40 == 39 {
			x.restart()
		}
	}
	x.closeAll()
	require.NoError(t, x.w.Close(), x.story())
	return x.checked
}

func (x *explorer) logf(format string, args ...any) {
	x.log = append(x.log, fmt.Sprintf(format, args...))
}

func (x *explorer) story() string {
	var b bytes.Buffer
	for _, line := range x.log {
		fmt.Fprintln(&b, line)
	}
	return b.String()
}

// step does one operation, with cuts within it and after it, and checks all of them.
func (x *explorer) step(o Options) {
	least := x.durable
	cuts := rand.New(rand.NewPCG(x.rng.Uint64(), 2))
	stop := x.w.cutWithin(cuts, o.Within, func(c cut) { x.cuts = append(x.cuts, c) })
	durable := x.operate()
	stop()
	for i := range x.cuts {
		x.cuts[i].least = least
	}
	if now := x.recorded(); now.String() != x.history[len(x.history)-1].String() {
		x.history = append(x.history, maps.Clone(now))
	}
	if durable {
		x.durable = len(x.history) - 1
	}
	for range o.PerOp {
		c, err := x.w.cutNow(x.rng)
		require.NoError(x.t, err, x.story())
		c.least = x.durable
		x.cuts = append(x.cuts, c)
	}
	for _, c := range x.cuts {
		x.check(c)
	}
	x.cuts = nil
}

// check opens what a cut left.
func (x *explorer) check(c cut) {
	if x.checked%fsckEvery == 0 {
		require.NoError(x.t, c.fsck(x.w.keys), "after a cut %s\n%s", c.when, x.story())
	}
	w, err := open(c.disk, c.kv, x.w.keys)
	require.NoError(x.t, err, "opening after a cut %s\n%s", c.when, x.story())
	require.NoError(x.t, w.findBucket(), "after a cut %s\n%s", c.when, x.story())
	got, err := w.observe()
	require.NoError(x.t, err, "after a cut %s\n%s", c.when, x.story())
	if x.versioned {
		known := tags{} // reads the bytes of all versions
		if x.checked%fsckEvery != 0 {
			known = maps.Clone(x.known)
		}
		if got, err = w.chains(got, known); err == nil && x.locked {
			err = w.addLocks(got)
		}
		require.NoError(x.t, err, "after a cut %s\n%s", c.when, x.story())
	}
	x.checked++
	for _, s := range x.history[c.least:] {
		if got.String() == s.String() {
			require.NoError(x.t, w.Close())
			return
		}
	}
	require.Failf(x.t, "lost or torn", "after a cut %s there is\n  %v\nnone of\n  %v\n%s", c.when, got, x.history[c.least:], x.story())
}

// restart goes on in what a cut left.
func (x *explorer) restart() {
	c, err := x.w.cutNow(x.rng)
	require.NoError(x.t, err)
	old := x.w
	x.w, err = open(c.disk, c.kv, old.keys)
	require.NoError(x.t, err, x.story())
	require.NoError(x.t, x.w.findBucket())
	x.now, err = x.w.observe()
	require.NoError(x.t, err, x.story())
	x.sessions, x.burst = nil, 0
	x.logf("power cut; now %v", x.now)
	require.NoError(x.t, x.w.kv.Sync(context.Background()))
	x.history, x.durable = []state{maps.Clone(x.recorded())}, 0
	require.NoError(x.t, old.Close())
}

func (x *explorer) closeAll() {
	for _, s := range x.sessions {
		require.NoError(x.t, s.h.Close(context.Background()), x.story())
	}
}

// operate does one random operation and keeps x.now true. durable: all that was committed is durable.
func (x *explorer) operate() (durable bool) {
	if x.burst > 0 && len(x.sessions) > 0 {
		if x.burst--; x.burst%2 == 0 {
			return x.fsync(x.sessions[0])
		}
		return x.write(x.sessions[0])
	}
	if x.rng.IntN(60) == 0 {
		x.burst = 30
	}
	if x.versioned && x.rng.IntN(10) == 0 {
		return x.forget()
	}
	if x.locked && x.rng.IntN(4) == 0 {
		return x.protect()
	}
	switch n := x.rng.IntN(25); {
	case n < 3 && len(x.sessions) < 4:
		return x.create()
	case n < 9 && len(x.sessions) > 0:
		return x.write(x.session())
	case n < 11 && len(x.sessions) > 0:
		return x.fsync(x.session())
	case n < 13 && len(x.sessions) > 0:
		return x.flush(x.session())
	case n < 14 && len(x.sessions) > 0:
		return x.close(x.session())
	case n < 16:
		return x.put(x.path())
	case n < 17:
		return x.remove(x.path())
	case n < 18:
		return x.unlink(x.path())
	case n < 19:
		return x.rename(x.path(), x.path())
	case n < 21 && len(x.sessions) > 0:
		return x.copyRange(x.session(), x.session())
	case n < 22 && len(x.sessions) > 0:
		return x.allocate(x.session())
	case n < 23 && len(x.sessions) < 4:
		return x.tmpfile()
	case n < 24 && len(x.sessions) > 0:
		return x.link(x.session(), x.path())
	}
	return x.copy(x.path(), x.path())
}

func (x *explorer) path() string      { return paths[x.rng.IntN(len(paths))] }
func (x *explorer) session() *session { return x.sessions[x.rng.IntN(len(x.sessions))] }

// content draws bytes: mostly short, so that exploring is fast, at times beyond each threshold.
func (x *explorer) content() []byte {
	n := x.rng.IntN(3000)
	switch x.rng.IntN(12) {
	case 0, 1:
		n = 8000 + x.rng.IntN(400)
	case 2:
		n = x.rng.IntN(60_000)
	case 3:
		n = 250_000 + x.rng.IntN(40_000)
	case 4:
		n = x.rng.IntN(1_200_000) / (1 + x.rng.IntN(8))
	}
	return storetest.Bytes(n, uint64(x.rng.Uint32()))
}

// entryOf is the place of a path: its directory, made if need be, and its name.
func (x *explorer) entryOf(path string, make bool) (dir namespace.Ino, name string, ok bool) {
	if len(path) == 1 {
		return x.w.Bucket, path, true
	}
	ctx := context.Background()
	a, err := x.w.View.Lookup(ctx, x.w.Bucket, "d")
	if err != nil && make {
		a, err = x.w.View.Mkdir(ctx, x.w.Bucket, "d", namespace.NewNode{Mode: 0o755})
		require.NoError(x.t, err, x.story())
	}
	return a.Ino, path[2:], err == nil
}

func (x *explorer) create() bool {
	path := x.path()
	for _, s := range x.sessions {
		if s.path == path { // one session a file keeps the model simple
			return false
		}
	}
	dir, name, _ := x.entryOf(path, true)
	x.logf("create %s", path)
	a, h, err := x.w.View.Create(context.Background(), dir, name, namespace.NewNode{Mode: 0o644}, namespace.OpenFlags{Read: true, Write: true})
	require.NoError(x.t, err, x.story())
	s := &session{h: h, path: path}
	if x.now[path] == "" {
		x.now[path] = unpublished
	} else {
		s.data = make([]byte, a.Size)
		_, err := h.ReadAt(context.Background(), s.data, 0)
		require.NoError(x.t, err, x.story())
	}
	x.sessions = append(x.sessions, s)
	return false
}

func (x *explorer) write(s *session) bool {
	ctx := context.Background()
	s.fresh = true
	if x.rng.IntN(6) == 0 {
		size := int64(x.rng.IntN(len(s.data) + 5000))
		x.logf("truncate %s to %d", s.path, size)
		_, err := x.w.View.SetAttr(ctx, s.h.Ino(), namespace.SetAttr{Size: &size, Handle: s.h})
		require.NoError(x.t, err, x.story())
		s.data = append(s.data[:min(size, int64(len(s.data))):min(size, int64(len(s.data)))], make([]byte, max(0, size-int64(len(s.data))))...)
		return false
	}
	p, off := x.content(), x.rng.IntN(len(s.data)+1)
	if x.rng.IntN(2) == 0 {
		off = len(s.data)
	}
	x.logf("write %s %d at %d", s.path, len(p), off)
	_, err := s.h.WriteAt(ctx, p, int64(off))
	require.NoError(x.t, err, x.story())
	if need := off + len(p) - len(s.data); need > 0 {
		s.data = append(s.data, make([]byte, need)...)
	}
	copy(s.data[off:], p)
	return false
}

// committed notes that the session's content went into the metadata.
func (x *explorer) committed(s *session) {
	if s.path != "" && (s.fresh || x.now[s.path] == unpublished) {
		x.now[s.path] = tag(s.data)
	}
	if s.nameless {
		s.kept = tag(s.data)
	}
	s.fresh = false
}

func (x *explorer) fsync(s *session) bool {
	x.logf("fsync %s", s.path)
	require.NoError(x.t, s.h.Fsync(context.Background()), x.story())
	x.committed(s)
	return true
}

func (x *explorer) flush(s *session) bool {
	x.logf("flush %s", s.path)
	require.NoError(x.t, s.h.Flush(context.Background()), x.story())
	x.committed(s)
	return false
}

func (x *explorer) close(s *session) bool {
	x.logf("close %s", s.path)
	require.NoError(x.t, s.h.Close(context.Background()), x.story())
	x.committed(s)
	x.sessions = slices.DeleteFunc(x.sessions, func(o *session) bool { return o == s })
	return false
}

// orphan ends the tie between a path and the session that has its file open.
func (x *explorer) orphan(path, newPath string) {
	for _, s := range x.sessions {
		if s.path == path {
			s.path = newPath
		}
	}
}

// body is a namespace.Body.
type body struct {
	io.Reader
	data []byte
}

func (b body) Size() int64 { return int64(len(b.data)) }
func (b body) Seal() (namespace.Sealed, error) {
	sum := md5.Sum(b.data)
	return namespace.Sealed{ETag: hex.EncodeToString(sum[:]), MD5: sum}, nil
}

func (x *explorer) put(path string) bool {
	p, o := x.content(), namespace.PutOptions{}
	if x.locked && x.rng.IntN(3) == 0 {
		o.Lock = &namespace.ObjectLock{Retention: x.retention(), LegalHold: x.rng.IntN(4) == 0}
	}
	x.logf("PUT %s %d %v", path, len(p), o.Lock)
	_, err := x.w.View.PutObject(context.Background(), bucket, path, body{bytes.NewReader(p), p}, o)
	require.NoError(x.t, err, x.story())
	x.orphan(path, "")
	x.now[path] = tag(p)
	return true
}

func (x *explorer) remove(path string) bool {
	x.logf("DELETE %s", path)
	published := x.now[path] != "" && x.now[path] != unpublished && !x.onlyDraft(path)
	found, err := x.w.View.DeleteObject(context.Background(), bucket, path, namespace.DeleteOptions{})
	require.NoError(x.t, err, x.story())
	require.Equal(x.t, published, found.Found, x.story())
	if found.Found {
		x.orphan(path, "")
		delete(x.now, path)
	}
	return true
}

// onlyDraft reports whether S3 does not see the path although a recovery would publish it.
func (x *explorer) onlyDraft(path string) bool {
	_, err := x.w.View.HeadObject(context.Background(), bucket, path, namespace.ReadOptions{})
	return err != nil
}

func (x *explorer) unlink(path string) bool {
	dir, name, ok := x.entryOf(path, false)
	if !ok || x.now[path] == "" {
		return false
	}
	x.logf("unlink %s", path)
	require.NoError(x.t, x.w.View.Unlink(context.Background(), dir, name), x.story())
	x.orphan(path, "")
	delete(x.now, path)
	return false
}

func (x *explorer) rename(from, to string) bool {
	if x.now[from] == "" || from == to {
		return false
	}
	dir, name, _ := x.entryOf(from, false)
	newDir, newName, _ := x.entryOf(to, true)
	x.logf("rename %s %s", from, to)
	require.NoError(x.t, x.w.View.Rename(context.Background(), dir, name, newDir, newName, 0), x.story())
	x.orphan(to, "")
	x.orphan(from, to)
	x.now[to] = x.now[from]
	delete(x.now, from)
	return false
}

func (x *explorer) copy(from, to string) bool {
	ctx := context.Background()
	if from == to {
		return false
	}
	r, err := x.w.View.GetObject(ctx, bucket, from, namespace.ReadOptions{})
	if err != nil {
		return false
	}
	var b bytes.Buffer
	_, err = r.WriteRange(ctx, &b, 0, r.Info().Size)
	require.NoError(x.t, err, x.story())
	require.NoError(x.t, r.Close())
	x.logf("copy %s %s", from, to)
	_, err = x.w.View.CopyObject(ctx, bucket, from, bucket, to, namespace.CopyOptions{})
	require.NoError(x.t, err, x.story())
	x.orphan(to, "")
	x.now[to] = tag(b.Bytes())
	return true
}
