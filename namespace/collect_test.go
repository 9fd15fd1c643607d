package namespace

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
	"k3fs/metastore"
	"k3fs/tenancy"
)

// dump is every record but those that time changes by itself.
func (w *world) dump(t testing.TB) map[string]string {
	all := map[string]string{}
	require.NoError(t, w.kv.View(bg, func(r metastore.Reader) error {
		return r.Scan(metastore.Range{Page: 4096}, func(k, value []byte) (bool, error) {
			if !strings.HasPrefix(string(k), kClock) {
				all[string(k)] = string(value)
			}
			return true, nil
		})
	}))
	return all
}

// collected is the answer to CollectGarbage.
func (w *world) collected(t testing.TB, dry bool) (Collection, []Garbage) {
	var all []Garbage
	c, err := w.CollectGarbage(bg, dry, func(g Garbage) error {
		all = append(all, g)
		return nil
	})
	require.NoError(t, err)
	return c, all
}

// scatter makes a file of many slices, which share extents with another's.
func (c *churn) scatter(bucket, name string) {
	dir, err := c.w.Lookup(bg, RootIno, bucket)
	require.NoError(c.t, err)
	_, src, err := c.w.Create(bg, dir.Ino, name+"-source", NewNode{Mode: 0o644}, OpenFlags{Read: true, Write: true})
	require.NoError(c.t, err)
	_, err = src.WriteAt(bg, storetest.Bytes(100_000, c.rng.Uint64()), 0)
	require.NoError(c.t, err)
	require.NoError(c.t, src.Fsync(bg))
	_, dst, err := c.w.Create(bg, dir.Ino, name, NewNode{Mode: 0o644}, OpenFlags{Read: true, Write: true})
	require.NoError(c.t, err)
	for i := range int64(embedMax + 4) {
		n, err := dst.CopyFrom(bg, src, i*1000, i*80_000, 70_000)
		require.NoError(c.t, err)
		require.EqualValues(c.t, 70_000, n)
	}
	require.NoError(c.t, errors.Join(src.Close(bg), dst.Close(bg)))
}

// requireCollected is that a dry run changes nothing and says exactly, record by record and byte by byte, what
// the real run takes after it, and that nothing that anything refers to is in that.
func (c *churn) requireCollected() (did Collection) {
	t, w := c.t, c.w
	before := w.dump(t)
	would, planned := w.collected(t, true)
	require.Equal(t, before, w.dump(t), c.story())
	held, err := Check(bg, w.kv, w.chunks, w.keys, CheckOptions{})
	require.NoError(t, err)
	did, taken := w.collected(t, false)
	require.Equal(t, would, did, c.story())
	require.Equal(t, planned, taken, c.story())

	after := w.dump(t)
	gone := map[string]int64{}
	var extents, others int64
	for k, was := range before {
		now, stays := after[k]
		switch {
		case !stays:
			gone[k[:2]]++
			others++
		case now != was:
			require.Equal(t, kExtent, k[:2], "only counts of references change")
		}
		delete(after, k)
	}
	extents = gone[kExtent]
	require.Empty(t, after, "nothing is new")
	require.Equal(t, did, Collection{Contents: gone[kOrphan], Parts: gone[kPart], Uploads: gone[kEnded], Finished: gone[kDone],
		Extents: extents, Bytes: did.Bytes, DiskBytes: did.DiskBytes, Records: others, Waiting: did.Waiting}, c.story())
	for table := range gone {
		require.Contains(t, []string{kOrphan, kPart, kEnded, kDone, kExtent, kContent}, table, "no other record goes")
	}
	left, err := Check(bg, w.kv, w.chunks, w.keys, CheckOptions{Deep: true})
	require.NoError(t, err)
	require.Empty(t, left.Problems, c.story())
	require.Equal(t, held.Bytes-left.Bytes, did.Bytes, c.story())
	require.Equal(t, held.Extents-left.Extents, did.Extents, c.story())
	again, none := w.collected(t, true)
	require.Equal(t, Collection{Waiting: did.Waiting}, again)
	require.Empty(t, none)
	return did
}

// TestDryRunEqualsCollection: after random operations with versions, copies and links that share extents, uploads,
// files removed while open and readers, the dry run's answer is what the collection then takes.
func TestDryRunEqualsCollection(t *testing.T) {
	var sum Collection
	var pages int64 // and inline bytes of parts
	for seed := range uint64(4) {
		c := newChurn(t, seed)
		require.NoError(t, c.w.CreateBucket(bg, "apart", "")) // churn sets quotas on its own
		c.w.fs.reaper.stop()
		now := time.Now()
		c.w.fs.now = func() time.Time { return now }
		var reading []ObjectReader
		for round := range 10 {
			for range 120 {
				c.step()
			}
			if round%3 == 0 {
				c.scatter("apart", "scattered")
			} else if round%3 == 1 {
				require.NoError(t, c.w.deleteBelow("apart", "scattered"))
			}
			if r, err := c.w.GetObject(bg, c.bucket(), c.key(), ReadOptions{}); err == nil {
				reading = append(reading, r)
			}
			if round == 6 {
				now = now.Add(2 * doneFor) // what is known of finished uploads goes
				for _, r := range reading {
					r.Close()
				}
				reading = nil
			}
			did := c.requireCollected()
			pages += did.Records - did.Contents - did.Parts - did.Uploads - did.Finished - did.Extents
			sum = Collection{sum.Contents + did.Contents, sum.Parts + did.Parts, sum.Uploads + did.Uploads, sum.Finished + did.Finished,
				sum.Extents + did.Extents, sum.Bytes + did.Bytes, sum.DiskBytes + did.DiskBytes, sum.Records + did.Records, sum.Waiting + did.Waiting, 0}
		}
		for _, r := range reading {
			r.Close()
		}
	}
	t.Logf("%+v", sum)
	for name, n := range map[string]int64{"contents": sum.Contents, "parts": sum.Parts, "uploads": sum.Uploads, "finished": sum.Finished,
		"extents": sum.Extents, "waiting": sum.Waiting, "pages": pages, "kept since shared": sum.Contents + sum.Parts - sum.Extents} {
		require.Positive(t, n, name)
	}
}

// Ends of pages: more uploads, and more parts of one, than are looked at in one go.
func TestCollectionInPages(t *testing.T) {
	c := newChurn(t, 1)
	c.w.fs.reaper.stop()
	for i := range reapBatch + 10 {
		u, err := c.w.CreateUpload(bg, "plain", "many", Upload{})
		require.NoError(t, err)
		if i%100 == 0 {
			for part := range 2*reapBatch + 3*i {
				_, err := c.w.PutPart(bg, "plain", "many", u.ID, part+1, bodyOf(storetest.Bytes(1+part%3*5000, uint64(part))))
				require.NoError(t, err)
			}
		}
		require.NoError(t, c.w.AbortUpload(bg, "plain", "many", u.ID))
	}
	did := c.requireCollected()
	require.EqualValues(t, reapBatch+10, did.Uploads)
	require.EqualValues(t, 3*2*reapBatch+3*300, did.Parts)
}

// An upload whose part is copied from is over when the copy is.
func TestCollectionWaitsForReaders(t *testing.T) {
	c := newChurn(t, 1)
	c.w.fs.reaper.stop()
	u, err := c.w.CreateUpload(bg, "plain", "k", Upload{})
	require.NoError(t, err)
	for part := range 2 {
		_, err = c.w.PutPart(bg, "plain", "k", u.ID, part+1, bodyOf(storetest.Bytes(50_000, uint64(part))))
		require.NoError(t, err)
	}
	var id contentID
	require.NoError(t, c.w.kv.View(bg, func(r metastore.Reader) error {
		var rec partRec
		up, err := parseUploadID(u.ID)
		require.NoError(t, err)
		_, err = getPart(r, up, 1, &rec)
		id = contentID(rec.Content.ID)
		return err
	}))
	c.w.fs.pin(id)
	require.NoError(t, c.w.AbortUpload(bg, "plain", "k", u.ID))
	did := c.requireCollected()
	require.EqualValues(t, 1, did.Parts)
	require.EqualValues(t, 1, did.Waiting)
	require.Zero(t, did.Uploads)
	c.w.fs.unpin(id)
	did = c.requireCollected()
	require.EqualValues(t, 1, did.Parts)
	require.EqualValues(t, 1, did.Uploads)
}

func TestCollectionIsTheOperators(t *testing.T) {
	w := newStore(t)
	_, err := w.fs.As(tenancy.Principal{Tenant: 7, Account: "mallory"}).CollectGarbage(bg, true, nil)
	requireKind(t, Access, err)
	enough := errors.New("enough")
	w.fs.reaper.stop()
	w.put(t, "k", bytes.Repeat([]byte("x"), inlineMax+1))
	w.put(t, "k", nil)
	_, err = w.CollectGarbage(bg, true, func(Garbage) error { return enough })
	require.ErrorIs(t, err, enough)
	did, all := w.collected(t, true)
	require.Len(t, all, 1)
	require.EqualValues(t, inlineMax+1, all[0].Size)
	require.EqualValues(t, inlineMax+1, did.Bytes)
}
