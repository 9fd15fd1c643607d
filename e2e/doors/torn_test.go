package doors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

const tornReads = 10_000

// TestReaderAmongWriters: one key is overwritten by S3 and, in three ways, through the mount, while
// S3 reads it 10,000 times: each read is one whole content.
func TestReaderAmongWriters(t *testing.T) {
	d := open(t, harness.Start(t, harness.Options{}), "torn")
	s := harness.Series{Name: "looped", Min: 10, Max: 4 << 20}
	var seq atomic.Uint32
	d.put("key", s.Body(0))

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var writers, readers sync.WaitGroup
	var writes [4]atomic.Int64
	var failed sync.Map
	fail := func(err error) { failed.Store(err.Error(), true); cancel() }

	writers.Go(func() { // S3
		for ctx.Err() == nil {
			b := s.Body(seq.Add(1))
			if _, err := d.c.PutObject(context.Background(), d.bucket, "key", bytes.NewReader(b), int64(len(b)), minio.PutObjectOptions{}); err != nil {
				fail(fmt.Errorf("PUT: %w", err))
			}
			writes[0].Add(1)
			time.Sleep(5 * time.Millisecond)
		}
	})
	writers.Go(func() { // the mount
		styles := []func(string, []byte) error{writeInPlace, saveByRename, truncateAndWrite}
		for i := 0; ctx.Err() == nil; i++ {
			style := i % len(styles)
			if err := styles[style](d.path("key"), s.Body(seq.Add(1))); err != nil {
				fail(fmt.Errorf("mount, style %d: %w", style, err))
			}
			writes[1+style].Add(1)
			time.Sleep(5 * time.Millisecond)
		}
	})
	var reads, distinct atomic.Int64
	var seen sync.Map
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil && reads.Add(1) <= tornReads {
				b, err := d.get("key")
				if err != nil {
					fail(fmt.Errorf("GET: %w", err))
					return
				}
				n, err := s.Check(b)
				if err != nil {
					fail(fmt.Errorf("GET: %w", err))
					return
				}
				if _, loaded := seen.LoadOrStore(n, true); !loaded {
					distinct.Add(1)
				}
			}
		})
	}
	readers.Wait()
	cancel()
	writers.Wait()
	failed.Range(func(msg, _ any) bool { t.Error(msg); return true })
	t.Logf("%d reads saw %d contents of %d written (S3 %d, in place %d, rename %d, truncate %d)", min(reads.Load(), tornReads),
		distinct.Load(), seq.Load(), writes[0].Load(), writes[1].Load(), writes[2].Load(), writes[3].Load())
	require.Greater(t, distinct.Load(), int64(50), "too few overwrites happened between the reads for the test to say anything")
	for i := range writes {
		require.Positive(t, writes[i].Load())
	}
}

// writeInPlace overwrites the file piece by piece and cuts it to its new size.
func writeInPlace(path string, b []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for off := 0; off < len(b); off += 64 << 10 {
		if _, err := f.WriteAt(b[off:min(len(b), off+64<<10)], int64(off)); err != nil {
			return err
		}
	}
	return f.Truncate(int64(len(b)))
}

func saveByRename(path string, b []byte) error {
	if err := os.WriteFile(path+".tmp", b, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

func truncateAndWrite(path string, b []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, bytes.NewReader(b))
	return err
}
