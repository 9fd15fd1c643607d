package namespace

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStatFSCounts(t *testing.T) {
	w := newStore(t)
	bucket := w.lookup(t, RootIno, "data")
	counted := func() {
		t.Helper()
		<-w.fs.census.done
		s, err := w.StatFS(bg, bucket)
		require.NoError(t, err)
		require.EqualValues(t, w.records(t, kInode), s.Files-s.FilesFree)
	}
	counted()
	for i := range 10 {
		w.put(t, fmt.Sprintf("a/%d/f", i), []byte("x"))
		w.file(t, bucket, fmt.Sprintf("f%d", i), "y")
	}
	w.put(t, "a/0/f", []byte("over"))
	w.put(t, "dir/", nil)
	counted()
	_, err := w.DeleteObject(bg, "data", "a/1/f", DeleteOptions{})
	require.NoError(t, err)
	require.NoError(t, w.Unlink(bg, bucket, "f1"))
	require.NoError(t, w.Rename(bg, bucket, "f2", bucket, "f3", 0))
	require.NoError(t, w.deleteBelow("data", "a/"))
	require.NoError(t, w.fs.Reap(bg))
	h, err := w.Open(bg, w.lookup(t, bucket, "f4"), OpenFlags{Read: true})
	require.NoError(t, err)
	require.NoError(t, w.Unlink(bg, bucket, "f4"))
	counted()
	require.NoError(t, h.Close(bg))
	counted()
	_, err = w.Mkdir(bg, bucket, "f5", NewNode{})
	require.Error(t, err)
	counted()

	require.NoError(t, w.fs.Close(bg))
	w.open(t, w.kv) // what the clean end left
	counted()
	w.file(t, bucket, "new", "z")
	counted()
	w.open(t, w.kv) // the count of a run that did not end
	counted()
}
