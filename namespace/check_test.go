package namespace

import (
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
	"k3fs/metastore"
)

// requireClean checks a namespace, with all its data.
func requireClean(t testing.TB, kv metastore.Store, chunks *chunkstore.Store, keys Authority) {
	report, err := Check(bg, kv, chunks, keys, CheckOptions{Deep: true, Limit: 5})
	require.NoError(t, err)
	require.Empty(t, report.Problems)
}

// full makes a namespace that has something in every table.
func full(t *testing.T) *world {
	w := newStore(t)
	w.put(t, "dir/inline", []byte("inline"))
	w.put(t, "dir/one", storetest.Bytes(100_000, 1))
	w.put(t, "dir/two", storetest.Bytes(3<<20, 2))
	_, err := w.CopyObject(bg, "data", "dir/one", "data", "copy", CopyOptions{})
	require.NoError(t, err)
	w.put(t, string(storetest.Bytes(0, 0))+"long/"+stringOf('x', 300), nil)
	a, err := w.Lookup(bg, RootIno, "data")
	require.NoError(t, err)
	d, err := w.Lookup(bg, a.Ino, "dir")
	require.NoError(t, err)
	f, err := w.Lookup(bg, d.Ino, "one")
	require.NoError(t, err)
	_, err = w.Link(bg, f.Ino, a.Ino, "linked")
	require.NoError(t, err)
	require.NoError(t, w.SetXattr(bg, f.Ino, "user.a", []byte("b"), 0))
	up, err := w.CreateUpload(bg, "data", "up", Upload{})
	require.NoError(t, err)
	w.part(t, "up", up.ID, 1, storetest.Bytes(50_000, 3))
	return w
}

func stringOf(b byte, n int) string {
	p := make([]byte, n)
	for i := range p {
		p[i] = b
	}
	return string(p)
}

// first returns a record of a table that matches.
func first(t testing.TB, r metastore.Reader, table string, match func(k, v []byte) bool) (k, v []byte) {
	require.NoError(t, r.Scan(prefixRange([]byte(table), 0), func(key, value []byte) (bool, error) {
		if k == nil && match(key, value) {
			k, v = append(k, key...), append(v, value...)
		}
		return k == nil, nil
	}))
	require.NotNil(t, k, table)
	return k, v
}

func any2(_, _ []byte) bool { return true }

func TestCheckFindsWhatIsPlanted(t *testing.T) {
	remove := func(table string) func(testing.TB, metastore.Txn) {
		return func(t testing.TB, tx metastore.Txn) {
			k, _ := first(t, tx, table, any2)
			require.NoError(t, tx.Delete(k))
		}
	}
	inode := func(match func(*inodeRec) bool, change func(*inodeRec)) func(testing.TB, metastore.Txn) {
		return func(t testing.TB, tx metastore.Txn) {
			var n inodeRec
			k, _ := first(t, tx, kInode, func(_, v []byte) bool {
				n = inodeRec{}
				_, err := n.UnmarshalMsg(v)
				return err == nil && match(&n)
			})
			change(&n)
			require.NoError(t, putRec(tx, k, &n))
		}
	}
	extent := func(change func(*extentRec)) func(testing.TB, metastore.Txn) {
		return func(t testing.TB, tx metastore.Txn) {
			k, v := first(t, tx, kExtent, any2)
			var rec extentRec
			_, err := rec.UnmarshalMsg(v)
			require.NoError(t, err)
			change(&rec)
			require.NoError(t, putRec(tx, k, &rec))
		}
	}
	add := func(k []byte, r record) func(testing.TB, metastore.Txn) {
		return func(t testing.TB, tx metastore.Txn) {
			if r == nil {
				require.NoError(t, tx.Set(k, nil))
				return
			}
			require.NoError(t, putRec(tx, k, r))
		}
	}
	file := func(n *inodeRec) bool { return Type(n.Type) == File && n.Published != nil }
	subdir := func(n *inodeRec) bool { return Type(n.Type) == Dir && n.Name == "dir/" }
	for name, c := range map[string]struct {
		plant func(testing.TB, metastore.Txn)
		code  string
	}{
		"super lost":      {remove(kSuper), "super"},
		"number too high": {add(key(kSuper), &superRec{Format: 1, Next: 3}), "number"},
		"record garbled":  {func(t testing.TB, tx metastore.Txn) { require.NoError(t, tx.Set(inodeKey(2), []byte{0xc1})) }, "record"},
		"key cut short":   {add([]byte(kInode+"x"), nil), "key"},
		"inode lost": {func(t testing.TB, tx metastore.Txn) {
			k, _ := first(t, tx, kInode, func(_, v []byte) bool { var n inodeRec; _, err := n.UnmarshalMsg(v); return err == nil && file(&n) })
			require.NoError(t, tx.Delete(k))
		}, "entry"},
		"entry lost": {func(t testing.TB, tx metastore.Txn) {
			k, _ := first(t, tx, kDentry, func(k, _ []byte) bool { return string(k[10:]) == "inline" })
			require.NoError(t, tx.Delete(k))
		}, "link"},
		"directory cut off": {func(t testing.TB, tx metastore.Txn) {
			k, _ := first(t, tx, kDentry, func(k, _ []byte) bool { return string(k[10:]) == "dir/" })
			require.NoError(t, tx.Delete(k))
		}, "tree"},
		"entry of no dir": {add(dentryKey(999, "x"), &dentryRec{Ino: 2, Type: uint8(Dir)}), "entry"},
		"entry's type": {func(t testing.TB, tx metastore.Txn) {
			k, v := first(t, tx, kDentry, func(k, _ []byte) bool { return string(k[10:]) == "inline" })
			var d dentryRec
			_, _ = d.UnmarshalMsg(v)
			d.Type = uint8(FIFO)
			require.NoError(t, putRec(tx, k, &d))
		}, "entry"},
		"link count":       {inode(file, func(n *inodeRec) { n.Nlink = 7 }), "link"},
		"subdirectories":   {inode(subdir, func(n *inodeRec) { n.Nlink++ }), "link"},
		"link lost":        {remove(kLink), "link"},
		"link to nothing":  {add(linkKey(2, 1, "zz"), nil), "link"},
		"parent":           {inode(subdir, func(n *inodeRec) { n.Parent = uint64(RootIno) }), "link"},
		"tenant":           {inode(file, func(n *inodeRec) { n.Owner = 2 }), "entry"},
		"size":             {inode(file, func(n *inodeRec) { n.Size++ }), "size"},
		"alias lost":       {remove(kAlias), "alias"},
		"alias of nothing": {add(aliasKey(2, "zz"), nil), "alias"},
		"xattr of none":    {add(xattrKey(2, "user.x"), nil), "xattr"},
		"draft of none":    {add(draftKey(2), nil), "draft"},
		"draft not noted":  {inode(file, func(n *inodeRec) { n.Draft = &contentRec{ID: 9} }), "draft"},
		"zombie of none":   {add(zombieKey(2), nil), "zombie"},
		"nameless":         {add(inodeKey(60000), &inodeRec{Type: uint8(File)}), "zombie"},
		"bucket lost":      {remove(kBucket), "bucket"},
		"bucket of none":   {add(bucketKey(9999), &bucketRec{Name: "zz", Owner: 1}), "bucket"},
		"upload lost":      {remove(kUpload), "upload"},
		"upload's key": {func(t testing.TB, tx metastore.Txn) {
			k, _ := first(t, tx, kUpload, any2)
			require.NoError(t, putRec(tx, k, &uploadRec{Key: "other"}))
		}, "upload"},
		"part lost":         {remove(kPart), "extent"},
		"inline bytes lost": {remove(kContent), "content"},
		"inline bytes wrong": {func(t testing.TB, tx metastore.Txn) {
			k, v := first(t, tx, kContent, any2)
			v[len(v)-1] ^= 1
			require.NoError(t, tx.Set(k, v))
		}, "content"},
		"page of nothing": {add(contentKey(60000, 0), &pageRec{}), "content"},
		"two owners":      {inode(file, func(n *inodeRec) { n.Published.ID = 1 << 15; n.Draft = n.Published }), "content"},
		"slice too long":  {inode(func(n *inodeRec) bool { return file(n) && len(n.Published.Slices) > 0 }, func(n *inodeRec) { n.Published.Slices[0].Skip = 1 << 30 }), "content"},
		"orphan's number": {add(orphanKey(60000), &orphanRec{Content: contentRec{ID: 60001}}), "orphan"},
		"references":      {extent(func(rec *extentRec) { rec.Refs++ }), "extent"},
		"length":          {extent(func(rec *extentRec) { rec.Length++ }), "extent"},
		"extent's tenant": {extent(func(rec *extentRec) { rec.Domain++ }), "extent"},
		"extent lost":     {remove(kExtent), "extent"},
		"bound lost":      {inode(func(n *inodeRec) bool { return file(n) && n.Name == "inline" }, func(n *inodeRec) { n.Lock = &lockRec{LegalHold: true} }), "bound"},
		"bound too low": {func(t testing.TB, tx metastore.Txn) {
			inode(func(n *inodeRec) bool { return file(n) && n.Nlink > 1 }, func(n *inodeRec) { n.Lock = &lockRec{Mode: uint8(Governance), Until: forever - 1} })(t, tx)
			var n inodeRec
			k, v := first(t, tx, kInode, func(_, v []byte) bool { n = inodeRec{}; _, err := n.UnmarshalMsg(v); return err == nil && subdir(&n) })
			_, err := n.UnmarshalMsg(v)
			require.NoError(t, err)
			require.NoError(t, putRec(tx, lockedToKey(ino(k[len(kInode):])), &lockedToRec{Until: 1 << 62}))
			require.NoError(t, putRec(tx, lockedToKey(Ino(n.Parent)), &lockedToRec{Until: forever}))
		}, "bound"},
		"bound of no directory": {add(lockedToKey(9999), &lockedToRec{Until: 1}), "bound"},
		"hold of no bucket":     {add(holdKey(1, "h-0"), &holdRec{Bucket: 9999, Reason: "x"}), "hold"},
		"hold without a note":   {add(holdKey(1, "h-0"), &holdRec{Reason: "x"}), "hold"},
		"hold garbled":          {func(t testing.TB, tx metastore.Txn) { require.NoError(t, tx.Set(holdKey(1, "h-0"), []byte{0xc1})) }, "hold"},
		"hold of two kinds":     {add(holdKey(1, "h-0"), &holdRec{Reason: "x", Period: 1, Until: 1}), "hold"},
		"clock":                 {add(key(kClock), &clockRec{State: []byte("{")}), "clock"},
		"extent of nothing":     {add(extentKey(1, 1<<40), &extentRec{Refs: 1, Length: 1, Domain: 1}), "extent"},
	} {
		t.Run(name, func(t *testing.T) {
			w := full(t)
			w.damaged = true
			require.NoError(t, w.fs.Reap(bg))
			requireClean(t, w.kv, w.chunks, w.keys)
			require.NoError(t, w.kv.Update(bg, metastore.Ordered, func(tx metastore.Txn) error {
				c.plant(t, tx)
				return nil
			}))
			report, err := Check(bg, w.kv, w.chunks, w.keys, CheckOptions{})
			require.NoError(t, err)
			var codes []string
			for _, p := range report.Problems {
				codes = append(codes, p.Code)
			}
			require.Contains(t, codes, c.code, "%v", report.Problems)
		})
	}
}

func TestCheckFindsDamagedData(t *testing.T) {
	w := full(t)
	w.damaged = true
	require.NoError(t, w.fs.Reap(bg))
	require.NoError(t, w.chunks.Sync(bg))
	found := 0
	for _, name := range w.disk.Files() {
		// Somewhere in the frames of every segment.
		if err := w.disk.Corrupt(name, 3*chunkstore.BlockSize+100, 1); err == nil {
			found++
		}
	}
	require.Positive(t, found)
	chunks := storetest.Open(t, w.disk, &w.keys.Keys)
	report, err := Check(bg, w.kv, chunks, w.keys, CheckOptions{Deep: true, Limit: 1})
	require.NoError(t, err)
	require.Len(t, report.Problems, 1)
	require.Equal(t, "data", report.Problems[0].Code, report.Problems[0].String())
}
