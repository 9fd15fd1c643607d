package namespace

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
	"k3fs/tenancy"
)

func (w *world) usageOf(t testing.TB, s QuotaScope) Usage {
	u, err := w.Usage(bg, s)
	require.NoError(t, err)
	return u
}

// TestQuotaRefuses: what would exceed a quota is refused as a whole, and what frees never is.
func TestQuotaRefuses(t *testing.T) {
	for _, s := range []QuotaScope{{}, {Bucket: "data"}, {Bucket: "data", Prefix: "a/"}} {
		w := newStore(t)
		w.put(t, "a/x", storetest.Bytes(100, 1))
		require.NoError(t, w.SetQuota(bg, s, QuotaLimits{Bytes: 1000, Inodes: w.usedBefore(t, s).Inodes + 2}))
		before := w.usageOf(t, s)
		_, err := w.PutObject(bg, "data", "a/y", bodyOf(storetest.Bytes(901, 1)), PutOptions{})
		requireKind(t, QuotaExceeded, err)
		require.Equal(t, before, w.usageOf(t, s))
		w.put(t, "a/y", storetest.Bytes(900, 1))
		require.EqualValues(t, 1000, w.usageOf(t, s).Bytes)
		_, err = w.PutObject(bg, "data", "a/x", bodyOf(storetest.Bytes(101, 1)), PutOptions{})
		requireKind(t, QuotaExceeded, err)
		w.put(t, "a/x", storetest.Bytes(99, 1))
		w.put(t, "a/z", nil)
		_, err = w.PutObject(bg, "data", "a/0", bodyOf(nil), PutOptions{})
		requireKind(t, QuotaExceeded, err)
		_, err = w.CreateUpload(bg, "data", "a/up", Upload{})
		requireKind(t, QuotaExceeded, err)
		require.NoError(t, w.SetQuota(bg, s, QuotaLimits{Bytes: 1, Inodes: 1}), "below what is used")
		_, err = w.DeleteObject(bg, "data", "a/y", DeleteOptions{})
		require.NoError(t, err)
		dir, name := (&churn{t: t, w: w}).find("data", "a/x")
		require.NoError(t, w.Unlink(bg, dir, name))
		require.NoError(t, w.SetQuota(bg, s, QuotaLimits{}))
		w.put(t, "a/y", storetest.Bytes(5000, 1))
	}
}

// usedBefore is used for a prefix that has no quota yet.
func (w *world) usedBefore(t testing.TB, s QuotaScope) Usage {
	if s.Prefix != "" {
		return Usage{Inodes: 2} // the directory and its file
	}
	return w.usageOf(t, s)
}

// TestQuotaOfVersions: older versions and delete markers count; deleting is possible all the same.
func TestQuotaOfVersions(t *testing.T) {
	w := newStore(t)
	w.versioning(t, "data", VersioningEnabled)
	s := QuotaScope{Bucket: "data"}
	w.put(t, "x", storetest.Bytes(400, 1))
	require.NoError(t, w.SetQuota(bg, s, QuotaLimits{Bytes: 1000, Inodes: 3}))
	w.put(t, "x", storetest.Bytes(400, 2))
	require.Equal(t, Usage{800, 3}, w.usageOf(t, s))
	_, err := w.PutObject(bg, "data", "x", bodyOf(storetest.Bytes(1, 3)), PutOptions{})
	requireKind(t, QuotaExceeded, err)
	done, err := w.DeleteObject(bg, "data", "x", DeleteOptions{})
	require.NoError(t, err)
	require.Equal(t, Usage{800, 4}, w.usageOf(t, s), "a delete marker counts, and is never refused")
	_, err = w.DeleteObject(bg, "data", "x", DeleteOptions{Version: done.Version})
	require.NoError(t, err)
	require.Equal(t, Usage{800, 3}, w.usageOf(t, s))
}

// TestQuotaConcurrent: writers through both doors never exceed a quota together, and can use it up.
func TestQuotaConcurrent(t *testing.T) {
	w := newStore(t)
	w.put(t, "a/x", nil)
	scopes := []QuotaScope{{}, {Bucket: "data"}, {Bucket: "data", Prefix: "a/"}}
	const limit = 100_000
	for _, s := range scopes {
		require.NoError(t, w.SetQuota(bg, s, QuotaLimits{Bytes: limit}))
	}
	dir, _ := (&churn{t: t, w: w}).find("data", "a/x")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			for n := range 60 {
				data := storetest.Bytes(1+rng.IntN(3000), 1)
				name := fmt.Sprintf("%d-%d", i, n)
				if i%2 == 0 {
					_, _ = w.PutObject(bg, "data", "a/"+name, bodyOf(data), PutOptions{})
					continue
				}
				_, h, err := w.Create(bg, dir, name, NewNode{Mode: 0o644}, OpenFlags{Write: true})
				if err == nil {
					_, _ = h.WriteAt(bg, data, 0)
					_ = h.Close(bg)
				}
			}
		})
	}
	wg.Wait()
	for n := 2000; n > 0; n /= 2 {
		for i := range 100 {
			if _, err := w.PutObject(bg, "data", fmt.Sprintf("a/last-%d-%d", n, i), bodyOf(storetest.Bytes(n, 1)), PutOptions{}); err != nil {
				requireKind(t, QuotaExceeded, err)
				break
			}
		}
	}
	for _, s := range scopes {
		require.EqualValues(t, limit, w.usageOf(t, s).Bytes)
	}
}

// TestSoftQuota: a soft limit may be exceeded for the time of its grace, and anew once usage was below it.
func TestSoftQuota(t *testing.T) {
	clock := &hostClock{wall: time.Now()}
	w := newWorldWith(t, clock.options())
	require.NoError(t, w.CreateBucket(bg, "data", ""))
	s := QuotaScope{Bucket: "data"}
	require.NoError(t, w.SetQuota(bg, s, QuotaLimits{SoftBytes: 1000, Bytes: 2000, Grace: time.Hour}))
	w.put(t, "a", storetest.Bytes(1000, 1))
	q, err := w.Quota(bg, s)
	require.NoError(t, err)
	require.Zero(t, q.BytesUntil)
	w.put(t, "b", storetest.Bytes(500, 1))
	q, err = w.Quota(bg, s)
	require.NoError(t, err)
	require.Equal(t, clock.wall.Add(time.Hour).UTC(), q.BytesUntil.UTC())
	clock.pass(30 * time.Minute)
	w.put(t, "c", storetest.Bytes(100, 1))
	_, err = w.PutObject(bg, "data", "d", bodyOf(storetest.Bytes(401, 1)), PutOptions{})
	requireKind(t, QuotaExceeded, err)
	clock.pass(31 * time.Minute)
	_, err = w.PutObject(bg, "data", "d", bodyOf(storetest.Bytes(1, 1)), PutOptions{})
	requireKind(t, QuotaExceeded, err)
	_, err = w.DeleteObject(bg, "data", "a", DeleteOptions{})
	require.NoError(t, err)
	w.put(t, "d", storetest.Bytes(400, 1))
	w.put(t, "e", storetest.Bytes(1, 1))
	q, err = w.Quota(bg, s)
	require.NoError(t, err)
	require.Equal(t, clock.wall.Add(time.Hour).UTC(), q.BytesUntil.UTC(), "the grace begins anew")
}

// TestQuotaScopes: who may set and see what.
func TestQuotaScopes(t *testing.T) {
	w := newStore(t)
	w.makeBucket(t, "bobs", bob)
	bobs, clerk := w.fs.As(bob), w.fs.As(tenancy.Principal{Tenant: 1, Account: "clerk"})
	l := QuotaLimits{Bytes: 1 << 20}
	require.NoError(t, w.SetQuota(bg, QuotaScope{Tenant: 2}, l), "the node's operator")
	requireKind(t, Access, bobs.SetQuota(bg, QuotaScope{Tenant: 2}, QuotaLimits{}))
	requireKind(t, Access, bobs.SetQuota(bg, QuotaScope{Tenant: 1}, QuotaLimits{}))
	require.NoError(t, bobs.SetQuota(bg, QuotaScope{Bucket: "bobs"}, l))
	requireKind(t, NoBucket, bobs.SetQuota(bg, QuotaScope{Bucket: "data"}, l))
	requireKind(t, NoBucket, w.SetQuota(bg, QuotaScope{Bucket: "bobs"}, l))
	requireKind(t, Access, bobs.SetQuota(bg, QuotaScope{Tenant: 1, Bucket: "data"}, l))
	requireKind(t, Access, clerk.SetQuota(bg, QuotaScope{Bucket: "data"}, l))
	_, err := clerk.Usage(bg, QuotaScope{Bucket: "data"})
	require.NoError(t, err)
	_, err = bobs.Usage(bg, QuotaScope{Tenant: 1})
	requireKind(t, Access, err)
	all, err := bobs.Quotas(bg, 0)
	require.NoError(t, err)
	require.Len(t, all, 2)
	all, err = w.Quotas(bg, 2)
	require.NoError(t, err)
	require.Len(t, all, 2)
	_, err = bobs.Quotas(bg, 1)
	requireKind(t, Access, err)
	for _, bad := range []QuotaLimits{{Bytes: -1}, {Bytes: 1, SoftBytes: 2}, {Grace: -1}} {
		requireKind(t, Invalid, w.SetQuota(bg, QuotaScope{Bucket: "data"}, bad))
	}
	for _, bad := range []QuotaScope{{Prefix: "a/"}, {Bucket: "data", Prefix: "a"}} {
		requireKind(t, Invalid, w.SetQuota(bg, bad, l))
	}
	_, err = w.Quota(bg, QuotaScope{Bucket: "data", Prefix: "a/"})
	requireKind(t, NotFound, err)
}

// TestQuotaOfATreeThatMoves: a directory takes its charge along; one that is too large for that must be copied.
func TestQuotaOfATreeThatMoves(t *testing.T) {
	w := newStore(t)
	for i := range 5 {
		w.put(t, fmt.Sprintf("a/b/%d", i), storetest.Bytes(100, 1))
	}
	s := QuotaScope{Bucket: "data", Prefix: "q/"}
	require.NoError(t, w.SetQuota(bg, s, QuotaLimits{Bytes: 500}))
	dir, err := w.Lookup(bg, RootIno, "data")
	require.NoError(t, err)
	require.NoError(t, w.Rename(bg, dir.Ino, "a", dir.Ino, "q", 0))
	require.Equal(t, Usage{500, 7}, w.usageOf(t, s))
	w.put(t, "c/x", storetest.Bytes(1, 1))
	q, err := w.Lookup(bg, dir.Ino, "q")
	require.NoError(t, err)
	requireKind(t, QuotaExceeded, w.Rename(bg, dir.Ino, "c", q.Ino, "c", 0))
	require.NoError(t, w.Rename(bg, q.Ino, "b", dir.Ino, "b", 0))
	require.Equal(t, Usage{0, 1}, w.usageOf(t, s))
	require.NoError(t, w.Rename(bg, dir.Ino, "c", q.Ino, "c", 0))
	require.Equal(t, Usage{1, 3}, w.usageOf(t, s))
}

// TestQuotaOfDrafts: a write learns at once that a quota is used up, by what is in memory too.
func TestQuotaOfDrafts(t *testing.T) {
	for _, s := range []QuotaScope{{}, {Bucket: "bucket"}, {Bucket: "bucket", Prefix: "a/"}} {
		w := newWorld(t)
		dir, err := w.Mkdir(bg, w.bucket, "a", NewNode{Mode: 0o755})
		require.NoError(t, err)
		require.NoError(t, w.SetQuota(bg, s, QuotaLimits{Bytes: 1 << 20}))
		f, g := create(t, w.View, dir.Ino, "f"), create(t, w.View, dir.Ino, "g")
		full := storetest.Bytes(1<<20, 1)
		_, err = f.WriteAt(bg, full[:600_000], 0)
		require.NoError(t, err)
		_, err = g.WriteAt(bg, full[:600_000], 0)
		requireKind(t, QuotaExceeded, err)
		_, err = g.Append(bg, full[:600_000])
		requireKind(t, QuotaExceeded, err)
		size := int64(600_000)
		_, err = w.SetAttr(bg, g.Ino(), SetAttr{Size: &size, Handle: g})
		requireKind(t, QuotaExceeded, err)
		requireKind(t, QuotaExceeded, g.Allocate(bg, AllocSpace, false, 0, size))
		_, err = g.CopyFrom(bg, f, 0, 0, size)
		requireKind(t, QuotaExceeded, err)
		_, err = g.WriteAt(bg, full[:1000], 0)
		require.NoError(t, err)
		require.NoError(t, f.Close(bg))
		require.NoError(t, g.Close(bg))
		require.EqualValues(t, 601_000, w.usageOf(t, s).Bytes)
		require.Empty(t, w.fs.quotas.drafts.bytes)

		h, err := w.Open(bg, f.Ino(), OpenFlags{Write: true, Trunc: true})
		require.NoError(t, err)
		_, err = h.WriteAt(bg, full[:600_000], 0)
		require.NoError(t, err, "what is replaced makes room")
		_, err = h.WriteAt(bg, full, 600_000)
		requireKind(t, QuotaExceeded, err)
		require.NoError(t, h.Close(bg))
		require.Empty(t, w.fs.quotas.drafts.bytes)
		st, err := w.StatFS(bg, dir.Ino)
		require.NoError(t, err)
		used := w.usageOf(t, s)
		require.EqualValues(t, used.Bytes, st.Total-st.Free)
		require.EqualValues(t, 1<<20-used.Bytes, st.Avail)
		require.NoError(t, w.SetQuota(bg, s, QuotaLimits{Inodes: used.Inodes + 3}))
		st, err = w.StatFS(bg, dir.Ino)
		require.NoError(t, err)
		require.EqualValues(t, 3, st.FilesFree)
		require.EqualValues(t, used.Inodes+3, st.Files)
	}
}
