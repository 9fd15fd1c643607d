package doors

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// TestQuota makes 10,000 random changes through both doors of a real daemon that is killed in between, with quotas of
// the tenant, of buckets and of a directory in force. After each kill fsck counts anew what is used, and finds
// the counters right; in the end what `k3fs usage` says is also what the doors show.
func TestQuota(t *testing.T) {
	d := harness.Start(t, harness.Options{})
	q := &spending{t: t, d: d, c: d.Client(t), tally: map[string]int{}}
	ctx := context.Background()
	for _, bucket := range spendBuckets {
		require.NoError(t, q.c.MakeBucket(ctx, bucket, minio.MakeBucketOptions{Region: harness.Region}))
	}
	require.NoError(t, q.c.EnableVersioning(ctx, "kept"))
	require.NoError(t, os.Mkdir(filepath.Join(d.Mount, "plain", "d"), 0o755))
	q.k3fs("quota", "set", "--of-tenant", "default", "--bytes", "24MB", "--inodes", "3000")
	q.k3fs("quota", "set", "plain", "--bytes", "8MB", "--soft-bytes", "4MB", "--inodes", "150")
	q.k3fs("quota", "set", "kept", "--bytes", "16MB", "--soft-inodes", "40")
	q.k3fs("quota", "set", "plain/d/", "--bytes", "1MB", "--inodes", "12")
	const rounds, workers = 5, 8
	n := harness.Rounds(17_000, 200_000) / rounds / workers // half of them and more find what they need
	rng := harness.Rand(t)
	for round := range rounds {
		q.work(workers, n, rng, round < rounds-1)
		require.NoError(t, d.Fsck(), "in round %d", round)
		d.MustStart(t)
	}
	q.recount()
	t.Log(q.tally)
	require.Greater(t, q.tally["done"]+q.tally["QuotaExceeded"]+q.tally["EDQUOT"], rounds*workers*n/2)
	require.NotZero(t, q.tally["QuotaExceeded"])
	require.NotZero(t, q.tally["EDQUOT"])
	// Only here nothing that removes may exceed a limit: unlinking one of a file's names makes a version in the other
	// bucket, and moves the file's charge to another name.
	used := q.usage("plain")
	require.LessOrEqual(t, used.Bytes, int64(8e6))
	require.LessOrEqual(t, used.Inodes, int64(150))
}

// spendBuckets are a plain bucket and one with versions.
var spendBuckets = []string{"plain", "kept"}

// spending is what the workers share.
type spending struct {
	t testing.TB
	d *harness.Daemon
	c *minio.Client

	mu    sync.Mutex
	tally map[string]int // guarded by mu: how operations ended
}

// usageNumbers are what `k3fs usage` says.
type usageNumbers struct {
	Bytes  int64 `json:"bytes"`
	Inodes int64 `json:"inodes"`
}

func (q *spending) k3fs(args ...string) string {
	binary, err := harness.Binary()
	require.NoError(q.t, err)
	return strings.TrimSpace(harness.Run(q.t, exec.Command(binary, append(args, "--data", q.d.Data)...)))
}

func (q *spending) usage(scope string) (u usageNumbers) {
	args := []string{"usage", "-o", "json"}
	if scope != "" {
		args = append(args, scope)
	}
	require.NoError(q.t, json.Unmarshal([]byte(q.k3fs(args...)), &u))
	return u
}

// work makes changes with several workers, and kills the daemon while they are at it, or stops it when they are done.
// What fails from the kill on says nothing.
func (q *spending) work(workers, n int, rng *rand.Rand, kill bool) {
	var g errgroup.Group
	killed := make(chan struct{})
	for w := range workers {
		s := &spender{q: q, rng: rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64())), core: minio.Core{Client: q.c}}
		g.Go(func() error {
			for i := range n {
				if kill && w == 0 && i == n-n/8 {
					close(killed)
					q.d.Kill()
					return nil
				}
				err := s.step()
				select {
				case <-killed:
					return nil
				default:
				}
				if err := q.note(err); err != nil {
					return fmt.Errorf("%s: %w", s.doing, err)
				}
			}
			return nil
		})
	}
	require.NoError(q.t, g.Wait())
	if !kill {
		q.d.MustStop(q.t)
	}
}

// note counts how an operation ended, and returns its error if it is none that may happen.
func (q *spending) note(err error) error {
	how := "done"
	switch code := minio.ToErrorResponse(err).Code; {
	case err == nil:
	case errors.Is(err, unix.EDQUOT):
		how = "EDQUOT"
	case code == "QuotaExceeded":
		if status := minio.ToErrorResponse(err).StatusCode; status != 403 {
			return fmt.Errorf("QuotaExceeded with status %d", status)
		}
		how = code
	case code == "NoSuchKey", code == "NoSuchUpload", code == "OperationAborted":
		how = "in the way"
	default:
		// Others change the same names meanwhile: what was found by its name may be an older version when it is opened.
		for _, expected := range []error{fs.ErrNotExist, fs.ErrExist, unix.ENOTEMPTY, unix.EISDIR, unix.ENOTDIR, unix.ESTALE, unix.EROFS, unix.EINVAL} {
			if errors.Is(err, expected) {
				how = "in the way"
			}
		}
		if how == "done" {
			return err
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tally[how]++
	return nil
}

// recount waits until what is used is what both doors show, while nobody works: what was removed while it was open is
// charged until the daemon, started again, has erased it. Names that were linked can leave a version behind that is listed at
// none of its keys, so in the bucket with versions not less is charged than shown.
func (q *spending) recount() {
	require.EventuallyWithT(q.t, func(c *assert.CollectT) {
		plain, kept := q.usage("plain"), q.usage("kept")
		assert.Equal(c, q.count("plain"), plain)
		shown := q.count("kept")
		assert.LessOrEqual(c, shown.Bytes, kept.Bytes)
		assert.LessOrEqual(c, shown.Inodes, kept.Inodes)
		assert.Equal(c, usageNumbers{plain.Bytes + kept.Bytes, plain.Inodes + kept.Inodes}, q.usage(""), "the tenant")
	}, time.Minute, 100*time.Millisecond)
}

// count adds up what a bucket shows: files and directories through the mount, older versions and uploads through S3.
func (q *spending) count(bucket string) (found usageNumbers) {
	seen := map[uint64]bool{}
	require.NoError(q.t, filepath.WalkDir(filepath.Join(q.d.Mount, bucket), func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if st := info.Sys().(*syscall.Stat_t); !seen[st.Ino] {
			seen[st.Ino] = true
			found.Inodes++
			if info.Mode().IsRegular() {
				found.Bytes += info.Size()
			}
		}
		return nil
	}))
	ctx := context.Background()
	for o := range q.c.ListObjects(ctx, bucket, minio.ListObjectsOptions{Recursive: true, WithVersions: true}) {
		require.NoError(q.t, o.Err)
		if o.IsDeleteMarker || !o.IsLatest {
			found.Bytes += o.Size
			found.Inodes++
		}
	}
	for u := range q.c.ListIncompleteUploads(ctx, bucket, "", true) {
		require.NoError(q.t, u.Err)
		found.Inodes++
		parts, err := minio.Core{Client: q.c}.ListObjectParts(ctx, bucket, u.Key, u.UploadID, 0, 1000)
		require.NoError(q.t, err)
		for _, p := range parts.ObjectParts {
			found.Bytes += p.Size
		}
	}
	return found
}

// spender is one worker.
type spender struct {
	q       *spending
	rng     *rand.Rand
	core    minio.Core
	uploads [][3]string // bucket, key, id
	doing   string
}

func (s *spender) key() string {
	return []string{"", "", "d/", "e/", "e/f/"}[s.rng.IntN(5)] + fmt.Sprintf("%c%s", 'a'+s.rng.IntN(10), []string{"", "", "3"}[s.rng.IntN(3)])
}

func (s *spender) body() []byte {
	return bytes.Repeat([]byte{byte(s.rng.Uint32())}, []int{0, 100, 3000, 20_000, 300_000}[s.rng.IntN(5)]+s.rng.IntN(50))
}

// step is one random operation.
func (s *spender) step() error {
	ctx := context.Background()
	bucket, key := spendBuckets[s.rng.IntN(2)], s.key()
	path := filepath.Join(s.q.d.Mount, bucket, filepath.FromSlash(key))
	kinds := []struct {
		name string
		do   func() error
	}{
		{"PUT", func() error { return s.put(bucket, key) }},
		{"PUT", func() error { return s.put(bucket, key) }},
		{"PUT", func() error { return s.put(bucket, key) }},
		{"DELETE", func() error { return s.q.c.RemoveObject(ctx, bucket, key, minio.RemoveObjectOptions{}) }},
		{"DELETE", func() error { return s.q.c.RemoveObject(ctx, bucket, key, minio.RemoveObjectOptions{}) }},
		{"DELETE of all versions", func() error { return s.prune("kept", key) }},
		{"CopyObject", func() error {
			to := strings.TrimSuffix(s.key(), "3")
			if !strings.HasSuffix(key, "3") {
				to += "3" // never onto itself
			}
			_, err := s.core.CopyObject(ctx, bucket, key, spendBuckets[s.rng.IntN(2)], to, nil, minio.CopySrcOptions{}, minio.PutObjectOptions{})
			return err
		}},
		{"upload", func() error { return s.upload(bucket, key) }},
		{"write", func() error { return s.write(path, os.O_TRUNC) }},
		{"write", func() error { return s.write(path, os.O_TRUNC) }},
		{"write", func() error { return s.write(path, os.O_TRUNC) }},
		{"append", func() error { return s.write(path, os.O_APPEND) }},
		{"truncate", func() error { return os.Truncate(path, s.rng.Int64N(100_000)) }},
		{"unlink", func() error { return unix.Unlink(path) }},
		{"unlink", func() error { return unix.Unlink(path) }},
		{"link", func() error {
			err := os.Link(path, path+"'")
			if errors.Is(err, unix.EPERM) {
				return unix.EISDIR // directories have no second names
			}
			return err
		}},
		{"rename", func() error {
			return os.Rename(path, filepath.Join(s.q.d.Mount, bucket, filepath.FromSlash(s.key())))
		}},
		{"unlink the other name", func() error { return unix.Unlink(path + "'") }},
		{"mkdir", func() error { return os.MkdirAll(filepath.Dir(path), 0o755) }},
		{"rmdir", func() error {
			return unix.Rmdir(filepath.Join(s.q.d.Mount, bucket, []string{"d", "e", "e/f"}[s.rng.IntN(3)]))
		}},
		{"symlink", func() error { return os.Symlink("x", path) }},
	}
	k := kinds[s.rng.IntN(len(kinds))]
	s.doing = k.name + " " + bucket + "/" + key
	return k.do()
}

func (s *spender) put(bucket, key string) error {
	body := s.body()
	_, err := s.q.c.PutObject(context.Background(), bucket, key, bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{})
	return err
}

// write writes a file, and is done when close is.
func (s *spender) write(path string, how int) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|how, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(s.body())
	if s.rng.IntN(4) == 0 {
		err = errors.Join(err, f.Sync())
	}
	return errors.Join(err, f.Close())
}

// upload begins an upload, adds a part to one, completes or aborts it.
func (s *spender) upload(bucket, key string) error {
	ctx := context.Background()
	if len(s.uploads) < 2 {
		id, err := s.core.NewMultipartUpload(ctx, bucket, key, minio.PutObjectOptions{})
		if err == nil {
			s.uploads = append(s.uploads, [3]string{bucket, key, id})
		}
		return err
	}
	i := s.rng.IntN(len(s.uploads))
	u := s.uploads[i]
	body := s.body()
	part, err := s.core.PutObjectPart(ctx, u[0], u[1], u[2], 1, bytes.NewReader(body), int64(len(body)), minio.PutObjectPartOptions{})
	if err != nil || s.rng.IntN(3) == 0 {
		return err
	}
	s.uploads = append(s.uploads[:i], s.uploads[i+1:]...)
	if s.rng.IntN(2) == 0 {
		return s.core.AbortMultipartUpload(ctx, u[0], u[1], u[2])
	}
	_, err = s.core.CompleteMultipartUpload(ctx, u[0], u[1], u[2], []minio.CompletePart{{PartNumber: 1, ETag: part.ETag}}, minio.PutObjectOptions{})
	return err
}

// prune removes all versions of a key.
func (s *spender) prune(bucket, key string) error {
	ctx := context.Background()
	for o := range s.q.c.ListObjects(ctx, bucket, minio.ListObjectsOptions{Prefix: key, WithVersions: true}) {
		if o.Err != nil {
			return o.Err
		}
		if o.Key != key {
			continue
		}
		if err := s.q.c.RemoveObject(ctx, bucket, o.Key, minio.RemoveObjectOptions{VersionID: o.VersionID}); err != nil {
			return err
		}
	}
	return nil
}
