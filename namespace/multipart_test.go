package namespace

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"testing"
	"time"

	"github.com/minio/crc64nvme"
	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
)

func (w *world) part(t testing.TB, key, id string, number int, data []byte) CompletePart {
	body := bodyOf(data)
	body.sums = Checksums{Algorithm: "CRC32", Value: crc32Of(data), Type: fullObject}
	p, err := w.PutPart(bg, "data", key, id, number, body)
	require.NoError(t, err)
	require.Equal(t, etagOf(data), p.ETag)
	return CompletePart{Number: number, ETag: `"` + p.ETag + `"`}
}

func crc32Of(data []byte) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(data)))
}

func multipartETag(parts ...[]byte) string {
	h := md5.New()
	for _, p := range parts {
		sum := md5.Sum(p)
		h.Write(sum[:])
	}
	return fmt.Sprintf("%s-%d", hex.EncodeToString(h.Sum(nil)), len(parts))
}

func TestMultipart(t *testing.T) {
	for _, typ := range []string{composite, fullObject} {
		t.Run(typ, func(t *testing.T) {
			w := newStore(t)
			up, err := w.CreateUpload(bg, "data", "big/one", Upload{Headers: map[string]string{"Content-Type": "x/y"},
				Meta: map[string]string{"a": "b"}, Checksum: "CRC32", Type: typ})
			require.NoError(t, err)
			one, two, three := storetest.Bytes(minPart, 1), storetest.Bytes(minPart+4097, 2), []byte("tail")
			w.part(t, up.Key, up.ID, 7, storetest.Bytes(100_000, 9)) // never used
			c3 := w.part(t, up.Key, up.ID, 3, three)
			w.part(t, up.Key, up.ID, 1, two) // replaced
			c1 := w.part(t, up.Key, up.ID, 1, one)
			c2 := w.part(t, up.Key, up.ID, 2, two)

			_, parts, truncated, err := w.ListParts(bg, "data", up.Key, up.ID, 1, 2)
			require.NoError(t, err)
			require.True(t, truncated)
			require.Equal(t, []int{2, 3}, []int{parts[0].Number, parts[1].Number})

			appended := w.chunks.Usage().Appended
			info, err := w.CompleteUpload(bg, "data", up.Key, up.ID, []CompletePart{c1, c2, c3}, Checksums{}, Conditions{})
			require.NoError(t, err)
			require.Equal(t, appended, w.chunks.Usage().Appended, "no data moves")
			require.Equal(t, multipartETag(one, two, three), info.ETag)
			require.Equal(t, 3, info.Parts)
			whole := bytes.Join([][]byte{one, two, three}, nil)
			require.True(t, bytes.Equal(whole, w.get(t, up.Key)))
			if typ == fullObject {
				require.Equal(t, Checksums{"CRC32", crc32Of(whole), fullObject}, info.Checksums)
			} else {
				var sums []byte
				for _, p := range [][]byte{one, two, three} {
					sums = binary.BigEndian.AppendUint32(sums, crc32.ChecksumIEEE(p))
				}
				require.Equal(t, Checksums{"CRC32", crc32Of(sums) + "-3", composite}, info.Checksums)
			}
			again, err := w.CompleteUpload(bg, "data", up.Key, up.ID, []CompletePart{c1, c2, c3}, Checksums{}, Conditions{})
			require.NoError(t, err)
			require.Equal(t, info, again, "a retry gets the same answer")

			require.NoError(t, w.fs.Reap(bg))
			require.True(t, bytes.Equal(whole, w.get(t, up.Key)))
			require.Zero(t, w.records(t, kPart)+w.records(t, kEnded)+w.records(t, kUpload)+w.records(t, kOrphan))
			_, err = w.DeleteObject(bg, "data", up.Key, DeleteOptions{})
			require.NoError(t, err)
			require.NoError(t, w.fs.Reap(bg))
			require.Zero(t, w.records(t, kExtent)+w.records(t, kContent))
			require.Equal(t, w.chunks.Usage().Appended, w.chunks.Usage().Freed)

			w.fs.now = func() time.Time { return time.Now().Add(2 * doneFor) }
			require.NoError(t, w.fs.forgetDone(bg))
			_, err = w.CompleteUpload(bg, "data", up.Key, up.ID, []CompletePart{c1}, Checksums{}, Conditions{})
			requireKind(t, NoUpload, err)
		})
	}
}

func TestCompleteRefuses(t *testing.T) {
	w := newStore(t)
	up, err := w.CreateUpload(bg, "data", "k", Upload{})
	require.NoError(t, err)
	c1 := w.part(t, "k", up.ID, 1, storetest.Bytes(minPart-1, 1))
	c2 := w.part(t, "k", up.ID, 2, []byte("x"))
	sum := c1
	sum.Checksums = Checksums{Algorithm: "CRC32", Value: "AAAAAA=="}
	for name, c := range map[string]struct {
		parts []CompletePart
		cond  Conditions
		want  Kind
	}{
		"none":      {nil, Conditions{}, Invalid},
		"order":     {[]CompletePart{c2, c1}, Conditions{}, InvalidPartOrder},
		"twice":     {[]CompletePart{c1, c1}, Conditions{}, InvalidPartOrder},
		"absent":    {[]CompletePart{{Number: 9, ETag: c1.ETag}}, Conditions{}, InvalidPart},
		"beyond":    {[]CompletePart{{Number: 1 << 20, ETag: c1.ETag}}, Conditions{}, InvalidPart},
		"etag":      {[]CompletePart{{Number: 1, ETag: c2.ETag}}, Conditions{}, InvalidPart},
		"checksum":  {[]CompletePart{sum}, Conditions{}, InvalidPart},
		"small":     {[]CompletePart{c1, c2}, Conditions{}, PartTooSmall},
		"condition": {[]CompletePart{c1}, Conditions{IfMatch: []string{"x"}}, NotFound},
	} {
		_, err := w.CompleteUpload(bg, "data", "k", up.ID, c.parts, Checksums{}, c.cond)
		require.Error(t, err, name)
		requireKind(t, c.want, err)
	}
	for _, id := range []string{"", "zz", up.ID[2:] + "00", up.ID + "00"} {
		_, err := w.CompleteUpload(bg, "data", "k", id, []CompletePart{c1}, Checksums{}, Conditions{})
		requireKind(t, NoUpload, err)
		_, err = w.PutPart(bg, "data", "k", id, 1, bodyOf(nil))
		requireKind(t, NoUpload, err)
		requireKind(t, NoUpload, w.AbortUpload(bg, "data", "k", id))
	}
	for _, n := range []int{0, -1, maxParts + 1} {
		_, err := w.PutPart(bg, "data", "k", up.ID, n, bodyOf(nil))
		requireKind(t, Invalid, err)
	}
	require.Empty(t, w.fs.pins)
	require.NoError(t, w.AbortUpload(bg, "data", "k", up.ID))
	requireKind(t, NoUpload, w.AbortUpload(bg, "data", "k", up.ID))
	_, err = w.PutPart(bg, "data", "k", up.ID, 1, bodyOf([]byte("late")))
	requireKind(t, NoUpload, err)
	require.NoError(t, w.fs.Reap(bg))
	require.Zero(t, w.records(t, kPart)+w.records(t, kEnded)+w.records(t, kExtent))
	require.Equal(t, w.chunks.Usage().Appended, w.chunks.Usage().Freed)
}

// A complete of as many parts as S3 allows is built in slices and collected in slices.
func TestCompleteTenThousandParts(t *testing.T) {
	w := newStore(t)
	up, err := w.CreateUpload(bg, "data", "k", Upload{})
	require.NoError(t, err)
	id, err := parseUploadID(up.ID)
	require.NoError(t, err)
	// Parts of 5 MiB each would take long to write: their sizes are made up, their extents are small.
	var want []CompletePart
	for n := 1; n <= maxParts; {
		require.NoError(t, w.View.update(bg, 0, func(tx *txn) error {
			for end := min(n+999, maxParts); n <= end; n++ {
				e, err := w.chunks.Append(bg, 1, []byte{byte(n), byte(n >> 8)})
				if err != nil {
					return err
				}
				c, err := w.fs.storeContent(tx, 1, &layout{Size: minPart, Slices: []slice{sliceOf(e, 0)}})
				if err != nil {
					return err
				}
				c.ETag = fmt.Sprint(n)
				want = append(want, CompletePart{Number: n, ETag: c.ETag})
				if err := putRec(tx, partKey(id, n), &partRec{Content: c, MD5: make([]byte, 16)}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	info, err := w.CompleteUpload(bg, "data", "k", up.ID, want, Checksums{}, Conditions{})
	require.NoError(t, err)
	require.EqualValues(t, maxParts*minPart, info.Size)
	require.NoError(t, w.fs.Reap(bg))
	require.Equal(t, maxParts, w.records(t, kExtent))
	require.Zero(t, w.records(t, kPart)+w.records(t, kOrphan))
	rd, err := w.GetObject(bg, "data", "k", ReadOptions{})
	require.NoError(t, err)
	for _, n := range []int{1, 777, maxParts} {
		var p [3]byte
		_, err := rd.ReadAt(bg, p[:], int64(n-1)*minPart)
		require.NoError(t, err)
		require.Equal(t, [3]byte{byte(n), byte(n >> 8), 0}, p)
	}
	require.NoError(t, rd.Close())
	_, err = w.DeleteObject(bg, "data", "k", DeleteOptions{})
	require.NoError(t, err)
	require.NoError(t, w.fs.Reap(bg))
	require.Zero(t, w.records(t, kExtent)+w.records(t, kContent)+w.records(t, kOrphan))
}

func TestCopies(t *testing.T) {
	w := newStore(t)
	require.NoError(t, w.CreateBucket(bg, "copies", ""))
	small, large := []byte("small"), storetest.Bytes(3<<20, 4)
	meta := PutOptions{Headers: map[string]string{"Content-Type": "t"}, Meta: map[string]string{"m": "1"}}
	for k, data := range map[string][]byte{"small": small, "large": large, "empty": nil} {
		src, err := w.PutObject(bg, "data", k, bodyOf(data), meta)
		require.NoError(t, err)
		appended := w.chunks.Usage().Appended
		c, err := w.CopyObject(bg, "data", k, "copies", "to/"+k, CopyOptions{})
		require.NoError(t, err)
		require.Equal(t, appended, w.chunks.Usage().Appended, "no data moves")
		require.Equal(t, src.ETag, c.ETag)
		require.Equal(t, meta.Meta, c.Meta)
		c, err = w.CopyObject(bg, "data", k, "data", k, CopyOptions{Replace: true, SelfCopyOK: true, Meta: map[string]string{"m": "2"}})
		require.NoError(t, err)
		require.Equal(t, map[string]string{"m": "2"}, c.Meta)
		require.True(t, bytes.Equal(data, w.get(t, k)))
		_, err = w.CopyObject(bg, "data", k, "data", k, CopyOptions{})
		requireKind(t, Invalid, err)
		_, err = w.DeleteObject(bg, "data", k, DeleteOptions{})
		require.NoError(t, err)
		require.NoError(t, w.fs.Reap(bg))
		_, err = w.CopyObject(bg, "copies", "to/"+k, "data", k, CopyOptions{Source: Conditions{IfNoneMatch: []string{src.ETag}}})
		requireKind(t, PreconditionFailed, err)
		_, err = w.CopyObject(bg, "copies", "to/"+k, "data", k, CopyOptions{})
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, w.get(t, k)), "the copy outlives its source")
	}

	up, err := w.CreateUpload(bg, "data", "joined", Upload{})
	require.NoError(t, err)
	var parts []CompletePart
	for i, r := range []struct {
		key         string
		off, length int64
	}{{"large", 1<<20 - 5, 10}, {"small", 1, 3}, {"large", 0, -1}, {"empty", 0, -1}} {
		p, err := w.CopyPart(bg, "data", r.key, ReadOptions{}, r.off, r.length, "data", "joined", up.ID, i+1)
		require.NoError(t, err)
		parts = append(parts, CompletePart{Number: i + 1, ETag: p.ETag})
		if i == 2 {
			require.Equal(t, etagOf(large), p.ETag)
		}
		_, err = w.CopyPart(bg, "data", r.key, ReadOptions{}, 1<<40, 1, "data", "joined", up.ID, 9)
		requireKind(t, Range, err)
		if i < 3 {
			_, err = w.CompleteUpload(bg, "data", "joined", up.ID, parts[i:], Checksums{}, Conditions{IfMatch: []string{"never"}})
			requireKind(t, NotFound, err)
		}
	}
	for i, want := range [][]byte{large[1<<20-5 : 1<<20+5], small[1:4], large, nil} {
		up2, err := w.CreateUpload(bg, "data", "one", Upload{})
		require.NoError(t, err)
		id, _ := parseUploadID(up.ID)
		to, _ := parseUploadID(up2.ID)
		require.NoError(t, w.View.update(bg, 0, func(tx *txn) error { // moves the part
			var rec partRec
			if _, err := getPart(tx, id, i+1, &rec); err != nil {
				return err
			}
			if err := tx.Delete(partKey(id, i+1)); err != nil {
				return err
			}
			return errors.Join(tx.Add(uploadedKey(id), -rec.Content.Size, unbounded), tx.Add(uploadedKey(to), rec.Content.Size, unbounded),
				putRec(tx, partKey(to, 1), &rec))
		}))
		_, err = w.CompleteUpload(bg, "data", "one", up2.ID, []CompletePart{{Number: 1, ETag: parts[i].ETag}}, Checksums{}, Conditions{})
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, w.get(t, "one")))
	}
}

func TestListUploads(t *testing.T) {
	w := newStore(t)
	var ids []string
	for i, k := range []string{"a", "a", "d/x", "d/y", "d-", "e"} {
		w.fs.now = func() time.Time { return time.UnixMilli(int64(1000 + i)) }
		up, err := w.CreateUpload(bg, "data", k, Upload{})
		require.NoError(t, err)
		ids = append(ids, up.ID)
	}
	keysOf := func(p UploadsPage) (keys []string) {
		for _, u := range p.Uploads {
			keys = append(keys, u.Key)
		}
		return keys
	}
	p, err := w.ListUploads(bg, "data", "", "", "", "", 100)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "a", "d-", "d/x", "d/y", "e"}, keysOf(p))
	require.Equal(t, ids[:2], []string{p.Uploads[0].ID, p.Uploads[1].ID})
	for size := 1; size < 6; size++ {
		var keys, prefixes []string
		for afterKey, afterID := "", ""; ; {
			p, err := w.ListUploads(bg, "data", "", "/", afterKey, afterID, size)
			require.NoError(t, err)
			keys, prefixes = append(keys, keysOf(p)...), append(prefixes, p.Prefixes...)
			if !p.Truncated {
				break
			}
			afterKey, afterID = p.NextKey, p.NextUploadID
		}
		require.Equal(t, []string{"a", "a", "d-", "e"}, keys)
		require.Equal(t, []string{"d/"}, prefixes)
	}
	p, err = w.ListUploads(bg, "data", "d/", "/", "d/x", "", 10)
	require.NoError(t, err)
	require.Equal(t, []string{"d/y"}, keysOf(p))

	requireKind(t, NotFound, func() error { _, err := w.HeadObject(bg, "data", "a", ReadOptions{}); return err }())
	require.NoError(t, w.DeleteBucket(bg, "data"))
	require.Zero(t, w.records(t, kUpload))
}

func TestCRCsCombine(t *testing.T) {
	data := storetest.Bytes(100_003, 1)
	for name, sum := range map[string]func([]byte) uint64{
		"CRC32":     func(p []byte) uint64 { return uint64(crc32.ChecksumIEEE(p)) },
		"CRC32C":    func(p []byte) uint64 { return uint64(crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli))) },
		"CRC64NVME": crc64nvme.Checksum,
	} {
		for _, cut := range []int{0, 1, 4096, 99_999, len(data)} {
			got := crcs[name].combine(sum(data[:cut]), sum(data[cut:]), int64(len(data)-cut))
			require.Equal(t, sum(data), got, "%s at %d", name, cut)
		}
	}
}
