package namespace

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
	"k3fs/metastore"
)

// requireCounted is that the counters of usage equal a recount.
func (w *world) requireCounted(t testing.TB, story func() string) {
	problems, err := w.fs.VerifyUsage(bg)
	require.NoError(t, err)
	require.Empty(t, problems, story())
}

// churn makes random changes through both doors.
type churn struct {
	t       testing.TB
	w       *world
	rng     *rand.Rand
	uploads []Upload
	in      []string // buckets of uploads
	open    []FileHandle
	said    []string
	worked  map[string]int
}

var (
	churnBuckets = []string{"plain", "kept", "paused"}
	churnNames   = []string{"x", "y", "z"}
	churnDirs    = []string{"", "a/", "a/b/", "a/b/c/", "d/"}
)

func (c *churn) bucket() string { return churnBuckets[c.rng.IntN(len(churnBuckets))] }
func (c *churn) dir() string    { return churnDirs[c.rng.IntN(len(churnDirs))] }
func (c *churn) key() string    { return c.dir() + churnNames[c.rng.IntN(len(churnNames))] }
func (c *churn) data() []byte {
	return storetest.Bytes([]int{0, 7, 5000, inlineMax + 1, 40_000}[c.rng.IntN(5)], c.rng.Uint64())
}

func (c *churn) story() string { return strings.Join(c.said[max(0, len(c.said)-60):], "\n") }

// find is where a key's name is through the mount; its directories are made.
func (c *churn) find(bucket, key string) (Ino, string) {
	a, err := c.w.Lookup(bg, RootIno, bucket)
	require.NoError(c.t, err)
	parts := strings.Split(key, "/")
	for _, p := range parts[:len(parts)-1] {
		next, err := c.w.Lookup(bg, a.Ino, p)
		if isKind(err, NotFound) {
			next, err = c.w.Mkdir(bg, a.Ino, p, NewNode{Mode: 0o755})
		}
		if err != nil || next.Type != Dir {
			return a.Ino, "in-the-way"
		}
		a = next
	}
	return a.Ino, parts[len(parts)-1]
}

func (c *churn) step() {
	ops := []struct {
		name string
		do   func(b string) error
	}{
		{"put", func(b string) error {
			_, err := c.w.PutObject(bg, b, c.key(), bodyOf(c.data()), PutOptions{})
			return err
		}},
		{"put dir", func(b string) error {
			_, err := c.w.PutObject(bg, b, "a/b/", bodyOf(c.data()[:0]), PutOptions{})
			return err
		}},
		{"delete", func(b string) error {
			_, err := c.w.DeleteObject(bg, b, c.key(), DeleteOptions{})
			return err
		}},
		{"delete version", func(b string) error {
			page, err := c.w.ListVersions(bg, b, VersionsOptions{Max: 50})
			if err != nil || len(page.Versions) == 0 {
				return err
			}
			v := page.Versions[c.rng.IntN(len(page.Versions))]
			_, err = c.w.DeleteObject(bg, b, v.Key, DeleteOptions{Version: v.Version})
			return err
		}},
		{"copy", func(b string) error {
			_, err := c.w.CopyObject(bg, c.bucket(), c.key(), b, c.key(), CopyOptions{SelfCopyOK: true})
			return err
		}},
		{"rename object", func(b string) error { return c.w.RenameObject(bg, b, c.key(), c.key(), Conditions{}, Conditions{}) }},
		{"create upload", func(b string) error {
			u, err := c.w.CreateUpload(bg, b, c.key(), Upload{})
			if err == nil {
				c.uploads, c.in = append(c.uploads, u), append(c.in, b)
			}
			return err
		}},
		{"part", c.upload(func(b string, u Upload) error {
			_, err := c.w.PutPart(bg, b, u.Key, u.ID, 1, bodyOf(c.data()))
			return err
		})},
		{"complete", c.upload(func(b string, u Upload) error {
			_, parts, _, err := c.w.ListParts(bg, b, u.Key, u.ID, 0, 10)
			if err == nil {
				var all []CompletePart
				for _, p := range parts {
					all = append(all, CompletePart{Number: p.Number, ETag: p.ETag})
				}
				_, err = c.w.CompleteUpload(bg, b, u.Key, u.ID, all, Checksums{}, Conditions{})
			}
			return err
		})},
		{"abort", c.upload(func(b string, u Upload) error { return c.w.AbortUpload(bg, b, u.Key, u.ID) })},
		{"create", func(b string) error {
			dir, name := c.find(b, c.key())
			_, h, err := c.w.Create(bg, dir, name, NewNode{Mode: 0o644}, OpenFlags{Write: true, Read: true})
			if err == nil {
				c.open = append(c.open, h)
			}
			return err
		}},
		{"tmpfile", func(b string) error {
			dir, name := c.find(b, c.key())
			_, h, err := c.w.Tmpfile(bg, dir, NewNode{Mode: 0o644}, OpenFlags{Write: true})
			if err == nil {
				c.open = append(c.open, h)
				_, err = c.w.Link(bg, h.Ino(), dir, name)
			}
			return err
		}},
		{"write", c.file(func(h FileHandle) error {
			_, err := h.WriteAt(bg, c.data(), int64(c.rng.IntN(3)*9000))
			return err
		})},
		{"write", c.file(func(h FileHandle) error {
			_, err := h.Append(bg, c.data())
			return err
		})},
		{"truncate", c.file(func(h FileHandle) error {
			size := int64(c.rng.IntN(20_000))
			_, err := c.w.SetAttr(bg, h.Ino(), SetAttr{Size: &size, Handle: h})
			return err
		})},
		{"fsync", c.file(func(h FileHandle) error { return h.Fsync(bg) })},
		{"flush", c.file(func(h FileHandle) error { return h.Flush(bg) })},
		{"close", c.close}, {"close", c.close},
		{"unlink", c.posix(func(dir Ino, name string) error { return c.w.Unlink(bg, dir, name) })},
		{"rmdir", c.posix(func(dir Ino, name string) error { return c.w.Rmdir(bg, dir, name) })},
		{"mkdir", c.posix(func(dir Ino, name string) error {
			_, err := c.w.Mkdir(bg, dir, name, NewNode{Mode: 0o755})
			return err
		})},
		{"symlink", c.posix(func(dir Ino, name string) error {
			_, err := c.w.Symlink(bg, dir, name, "to", NewNode{})
			return err
		})},
		{"mknod", c.posix(func(dir Ino, name string) error {
			_, err := c.w.Mknod(bg, dir, name, NewNode{Type: File, Mode: 0o644})
			return err
		})},
		{"link", func(b string) error {
			dir, name := c.find(b, c.key())
			to, toName := c.find(b, c.key())
			a, err := c.w.Lookup(bg, dir, name)
			if err == nil {
				_, err = c.w.Link(bg, a.Ino, to, toName)
			}
			return err
		}},
		{"rename", func(b string) error { return c.rename(b, c.key(), c.key(), 0) }},
		{"exchange", func(b string) error { return c.rename(b, c.key(), c.key(), RenameExchange) }},
		{"rename dir", func(b string) error {
			dirs := []string{"a", "a/b", "a/b/c", "d", "d/e"}
			flags := []RenameFlags{0, 0, RenameExchange}[c.rng.IntN(3)]
			return c.rename(b, dirs[c.rng.IntN(len(dirs))], dirs[c.rng.IntN(len(dirs))], flags)
		}},
		{"remove tree", func(b string) error {
			if c.rng.IntN(8) > 0 {
				return nil
			}
			err := c.w.deleteBelow(b, churnDirs[1+c.rng.IntN(len(churnDirs)-1)])
			if c.rng.IntN(2) == 0 {
				require.NoError(c.t, c.w.fs.Reap(bg), c.story())
			}
			return err
		}},
		{"quota", func(b string) error {
			if c.rng.IntN(10) > 0 {
				return nil
			}
			s := QuotaScope{Bucket: b, Prefix: []string{"", "a/", "a/b/", "d/e/"}[c.rng.IntN(4)]}
			l := []QuotaLimits{{}, {Bytes: 300_000, Inodes: 40}, {SoftBytes: 100_000, SoftInodes: 20}, {Inodes: 1 << 40}}[c.rng.IntN(4)]
			return c.w.SetQuota(bg, s, l)
		}},
	}
	op := ops[c.rng.IntN(len(ops))]
	b := c.bucket()
	err := op.do(b)
	c.said = append(c.said, fmt.Sprint(op.name, " in ", b, ": ", err))
	for _, never := range []Kind{Internal, Corrupt, Unavailable} {
		require.False(c.t, isKind(err, never), c.story())
	}
	if err == nil {
		c.worked[op.name]++
	}
}

func (c *churn) upload(do func(b string, u Upload) error) func(string) error {
	return func(string) error {
		if len(c.uploads) == 0 {
			return nil
		}
		i := c.rng.IntN(len(c.uploads))
		return do(c.in[i], c.uploads[i])
	}
}

func (c *churn) file(do func(FileHandle) error) func(string) error {
	return func(string) error {
		if len(c.open) == 0 {
			return nil
		}
		return do(c.open[c.rng.IntN(len(c.open))])
	}
}

func (c *churn) posix(do func(dir Ino, name string) error) func(string) error {
	return func(b string) error {
		dir, name := c.find(b, c.key())
		return do(dir, name)
	}
}

func (c *churn) close(string) error {
	if len(c.open) == 0 {
		return nil
	}
	h := c.open[0]
	c.open = c.open[1:]
	return h.Close(bg)
}

func (c *churn) rename(b, from, to string, flags RenameFlags) error {
	dir, name := c.find(b, from)
	toDir, toName := c.find(b, to)
	return c.w.Rename(bg, dir, name, toDir, toName, flags)
}

// newChurn is of three buckets: without versions, with them, and with versioning suspended.
func newChurn(t *testing.T, seed uint64) *churn {
	w := newWorld(t)
	for _, b := range churnBuckets {
		require.NoError(t, w.CreateBucket(bg, b, ""))
	}
	for b, state := range map[string]string{"kept": VersioningEnabled, "paused": VersioningSuspended} {
		w.versioning(t, b, VersioningEnabled)
		for i := range 5 {
			_, err := w.PutObject(bg, b, "a/x", bodyOf(storetest.Bytes(100, uint64(i))), PutOptions{})
			require.NoError(t, err)
		}
		w.versioning(t, b, state)
	}
	return &churn{t: t, w: w, rng: rand.New(rand.NewPCG(seed, 4)), worked: map[string]int{}}
}

// TestUsageAfterTenThousandOperations: through both doors, with power cuts between, the counters equal a recount.
func TestUsageAfterTenThousandOperations(t *testing.T) {
	c := newChurn(t, 6)
	w := c.w
	for i := range 10_000 {
		c.step()
		if i%50 == 0 {
			w.requireCounted(t, c.story)
		}
		if i%500 == 499 {
			c.said = append(c.said, "power cut")
			c.open, c.uploads, c.in = nil, nil, nil
			w.cut(t, c.rng.IntN(w.kv.Pending()+1), c.rng)
			w.requireCounted(t, c.story)
		}
	}
	for name, n := range c.worked {
		require.Greater(t, n, 5, name)
	}
	require.Len(t, c.worked, 28, "each kind of operation works at times")
}

// TestUsageOfAnOlderStore: a store without counters is counted when it is opened, and has the same ones then.
func TestUsageOfAnOlderStore(t *testing.T) {
	w := newStore(t)
	w.put(t, "a/x", storetest.Bytes(1000, 1))
	up, err := w.CreateUpload(bg, "data", "a/up", Upload{})
	require.NoError(t, err)
	_, err = w.PutPart(bg, "data", "a/up", up.ID, 1, bodyOf(storetest.Bytes(500, 2)))
	require.NoError(t, err)
	want, err := w.Usage(bg, QuotaScope{Bucket: "data"})
	require.NoError(t, err)
	require.Equal(t, Usage{1500, 4}, want) // the bucket, a/, a/x, the upload
	require.NoError(t, w.kv.Update(bg, metastore.Durable, func(tx metastore.Txn) error {
		for _, table := range []string{kUsage, kUploaded} {
			var keys [][]byte
			err := tx.Scan(prefixRange([]byte(table), 0), func(k, _ []byte) (bool, error) {
				keys = append(keys, append([]byte{}, k...))
				return true, nil
			})
			require.NoError(t, err)
			for _, k := range keys {
				require.NoError(t, tx.Delete(k))
			}
		}
		return nil
	}))
	w.cut(t, 0, rand.New(rand.NewPCG(1, 1)))
	got, err := w.Usage(bg, QuotaScope{Bucket: "data"})
	require.NoError(t, err)
	require.Equal(t, want, got)
	w.requireCounted(t, func() string { return "" })
	require.NoError(t, w.AbortUpload(bg, "data", "a/up", up.ID))
	_, err = w.DeleteObject(bg, "data", "a/x", DeleteOptions{})
	require.NoError(t, err)
	got, err = w.Usage(bg, QuotaScope{Bucket: "data"})
	require.NoError(t, err)
	require.Equal(t, Usage{0, 1}, got)
}
