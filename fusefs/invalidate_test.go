package fusefs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/stretchr/testify/require"

	"k3fs/namespace"
)

// otherDoor changes a memFS as an S3 endpoint would, and tells the mount.
type otherDoor struct {
	t   *testing.T
	fs  *memFS
	inv *Invalidator
}

func (o *otherDoor) change(parent namespace.Ino, name string, commit func()) {
	changes := []namespace.Change{{Parent: parent, Name: name}, {Ino: parent, Attr: true}}
	o.inv.Changing(changes)
	commit()
	o.inv.Changed(nil, changes)
}

// put replaces name by a new inode with the content.
func (o *otherDoor) put(parent namespace.Ino, name, content string) {
	o.change(parent, name, func() {
		o.fs.mu.Lock()
		defer o.fs.mu.Unlock()
		d := o.fs.nodes[parent]
		n := o.fs.node(namespace.File, namespace.NewNode{Mode: 0o644})
		n.blocks[0] = append([]byte(content), make([]byte, memBlock-len(content))...)
		n.attr.Size = int64(len(content))
		if old := d.entries[name]; old != nil {
			o.fs.drop(old)
		}
		d.put(name, n)
	})
}

func (o *otherDoor) remove(parent namespace.Ino, name string) {
	o.change(parent, name, func() { require.NoError(o.t, o.fs.Unlink(context.Background(), parent, name)) })
}

func mountedWithDoor(t *testing.T) (*otherDoor, string) {
	fs, inv := newMemFS(), NewInvalidator()
	m := mounted(t, Options{FS: fs, Invalidator: inv, AllowOther: true})
	return &otherDoor{t: t, fs: fs, inv: inv}, m.opts.Dir
}

// What another door has answered is seen by the mount at once, while readers keep the caches hot.
func TestOtherDoorIsSeenAtOnce(t *testing.T) {
	door, dir := mountedWithDoor(t)
	var stop atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop.Store(true)
	for range 3 {
		wg.Go(func() {
			for !stop.Load() {
				_, _ = os.Stat(filepath.Join(dir, "key"))
				_, _ = os.ReadDir(dir)
				_, _ = os.ReadFile(filepath.Join(dir, "key"))
			}
		})
	}
	path := filepath.Join(dir, "key")
	for i := range 500 {
		content := fmt.Sprintf("content %d %0*d", i, i%50, 0)
		door.put(namespace.RootIno, "key", content)
		got, err := os.ReadFile(path)
		require.NoError(t, err, "round %d", i)
		require.Equal(t, content, string(got), "round %d", i)
		st, err := os.Stat(path)
		require.NoError(t, err)
		require.EqualValues(t, len(content), st.Size())
		if i%3 != 0 {
			continue
		}
		door.remove(namespace.RootIno, "key")
		_, err = os.Stat(path)
		require.ErrorIs(t, err, os.ErrNotExist, "round %d", i)
		names, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, names, "round %d", i)
	}
}

// A listing is as true as a name.
func TestOtherDoorIsSeenInListings(t *testing.T) {
	door, dir := mountedWithDoor(t)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	a, err := door.fs.Lookup(context.Background(), namespace.RootIno, "d")
	require.NoError(t, err)
	for i := range 300 {
		door.put(a.Ino, fmt.Sprintf("name-%04d", i), "x")
		for range 2 { // the second is the kernel's own
			names, err := os.ReadDir(filepath.Join(dir, "d"))
			require.NoError(t, err)
			require.Len(t, names, i+1)
		}
	}
}

// An answer from before a change, held back until the change is committed, is not cached.
func TestAnswerOvertakenByChange(t *testing.T) {
	for _, op := range []string{"lookup", "getattr", "readdir"} {
		t.Run(op, func(t *testing.T) {
			door, dir := mountedWithDoor(t)
			require.NoError(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
			a, err := door.fs.Lookup(context.Background(), namespace.RootIno, "d")
			require.NoError(t, err)
			door.put(a.Ino, "other", "x")
			require.NoError(t, os.Chtimes(filepath.Join(dir, "d"), time.Unix(1, 0), time.Unix(1, 0)))

			var once sync.Once
			changed := make(chan struct{})
			door.fs.after.Store(new(func(got string) {
				if got != op {
					return
				}
				once.Do(func() {
					committed := make(chan struct{})
					go func() {
						defer close(changed)
						door.change(a.Ino, "key", func() {
							door.fs.mu.Lock()
							defer door.fs.mu.Unlock()
							door.fs.nodes[a.Ino].put("key", door.fs.node(namespace.File, namespace.NewNode{Mode: 0o600}))
							close(committed)
						})
					}()
					<-committed
					time.Sleep(20 * time.Millisecond) // let the notification come first, if it can
				})
			}))
			_, _ = os.Stat(filepath.Join(dir, "d", "key"))
			_, _ = os.ReadDir(filepath.Join(dir, "d"))
			_, _ = os.Stat(filepath.Join(dir, "d"))
			select {
			case <-changed:
			case <-time.After(10 * time.Second):
				t.Fatal("the notification waits for ever")
			}
			st, err := os.Stat(filepath.Join(dir, "d", "key"))
			require.NoError(t, err)
			require.EqualValues(t, 0o600, st.Mode().Perm())
			names, err := os.ReadDir(filepath.Join(dir, "d"))
			require.NoError(t, err)
			require.Len(t, names, 2)
			st, err = os.Stat(filepath.Join(dir, "d"))
			require.NoError(t, err)
			require.Greater(t, st.ModTime().Unix(), int64(1))
		})
	}
}

func TestMarks(t *testing.T) {
	v := NewInvalidator()
	before := v.now()
	require.True(t, v.entryFresh(before, 2, "a"))
	v.Changing([]namespace.Change{{Parent: 2, Name: "a"}, {Ino: 7, Attr: true}})
	require.False(t, v.entryFresh(before, 2, "a"))
	require.False(t, v.inodeFresh(before, 2), "the directory's attributes changed too")
	require.False(t, v.inodeFresh(before, 7))
	require.True(t, v.entryFresh(before, 2, "b"))
	require.True(t, v.inodeFresh(before, 8))
	during := v.now()
	require.True(t, v.inodeFresh(during, 7))
	v.Changed(nil, []namespace.Change{{Ino: 7, Attr: true}})
	require.False(t, v.inodeFresh(during, 7), "read between Changing and Changed")
	require.True(t, v.inodeFresh(v.now(), 7))
}

// told notes notifications of inodes, and answers that those in absent are unknown.
type told struct {
	mu     sync.Mutex
	inodes map[uint64]int
	absent map[uint64]bool
}

func (k *told) EntryNotify(uint64, string) fuse.Status { return fuse.OK }
func (k *told) PruneNotify([]uint64) fuse.Status       { return fuse.OK }

func (k *told) InodeNotify(node uint64, _, _ int64) fuse.Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.inodes[node]++
	if k.absent[node] {
		return fuse.ENOENT
	}
	return fuse.OK
}

// The kernel is told twice only of what it may have learnt just after the first time.
func TestRepeatedOnlyWhereNeeded(t *testing.T) {
	v, k := NewInvalidator(), &told{inodes: map[uint64]int{}, absent: map[uint64]bool{7: true}}
	v.attach(k, namespace.RootIno)
	defer v.detach()
	answered := v.setting(8)
	for _, ino := range []namespace.Ino{7, 8, 9, 10} {
		v.Changed(nil, []namespace.Change{{Ino: ino, Attr: true}})
	}
	answered()
	v.Changed(nil, []namespace.Change{{Ino: 11, Data: true}})
	count := func(node uint64) int {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.inodes[node]
	}
	for node, want := range map[uint64]int{7: 2, 8: 2, 11: 2} {
		require.Eventually(t, func() bool { return count(node) == want }, 10*time.Second, time.Millisecond)
	}
	v.mu.Lock()
	require.Empty(t, v.again)
	v.mu.Unlock()
	for _, node := range []uint64{9, 10} {
		require.Equal(t, 1, count(node))
	}
}
