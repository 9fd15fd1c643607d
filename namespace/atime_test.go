package namespace

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAccessed(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d, err := w.Mkdir(ctx, w.bucket, "d", NewNode{Mode: 0o755})
	require.NoError(t, err)
	noted := func() bool {
		t.Helper()
		ok, err := w.Accessed(ctx, d.Ino)
		require.NoError(t, err)
		return ok
	}
	set := func(atime, mtime time.Time) {
		t.Helper()
		_, err := w.SetAttr(ctx, d.Ino, SetAttr{Atime: &atime, Mtime: &mtime, Ctime: &mtime})
		require.NoError(t, err)
	}
	now := time.Now()
	require.True(t, noted(), "the first access")
	first := w.attr(t, d.Ino).Atime
	require.False(t, first.Before(now))
	set(now.Add(-time.Hour), now.Add(-2*time.Hour))
	require.False(t, noted(), "a later access, soon")
	require.True(t, w.attr(t, d.Ino).Atime.Equal(now.Add(-time.Hour)), "what utimensat sets wins over an access noted before")
	set(now.Add(-25*time.Hour), now.Add(-26*time.Hour))
	require.True(t, noted(), "after a day")
	set(now.Add(-2*time.Hour), now.Add(-time.Hour))
	require.True(t, noted(), "after a change")

	require.NoError(t, w.fs.storeAtimes(ctx))
	n, err := w.readInode(ctx, d.Ino, "s3:GetObject")
	require.NoError(t, err)
	require.False(t, stamp(n.Atime).Before(first))
	require.Zero(t, w.fs.atimes.get(d.Ino))
	_, err = w.Accessed(ctx, 12345)
	requireKind(t, NotFound, err)
}

func TestNanos(t *testing.T) {
	for _, year := range []int{1, 1900, 1970, 2026, 2261} {
		at := time.Date(year, 1, 2, 3, 4, 5, 6, time.UTC)
		if year > 1678 {
			require.True(t, stamp(nanos(at)).Equal(at), "%v", at)
		}
		require.LessOrEqual(t, nanos(at), nanos(at.AddDate(1, 0, 0)))
	}
	require.Equal(t, latest, stamp(nanos(time.Date(2400, 1, 1, 0, 0, 0, 0, time.UTC))))
}
