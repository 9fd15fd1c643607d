// Package crash kills daemons, cuts the power of their disks, fills them and flips their bits, and
// checks that nothing acknowledged is lost, nothing is torn, and nothing wrong is served.
//
// Load runs workers at both doors and keeps a harness.Ledger of what was acknowledged. The same
// workers drive the negative controls, which acknowledge too early: the ledger must see their losses.
package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/minio/minio-go/v7"

	"k3fs/e2e/harness"
)

// Objects is an S3 door, as far as the load needs it. All writes are durable when they return.
type Objects interface {
	Put(key string, body []byte) error
	PutParts(key string, body []byte) error
	Copy(from, to string) error
	Delete(key string) error
	Get(key string) ([]byte, error) // fs.ErrNotExist for an absent key
}

// Bucket is the S3 door of a daemon.
type Bucket struct {
	Core minio.Core
	Name string
}

// Put is PUT Object.
func (b Bucket) Put(key string, body []byte) error {
	_, err := b.Core.Client.PutObject(context.Background(), b.Name, key, bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{DisableMultipart: true})
	return err
}

// PutParts uploads body as one or two parts.
func (b Bucket) PutParts(key string, body []byte) error {
	ctx := context.Background()
	id, err := b.Core.NewMultipartUpload(ctx, b.Name, key, minio.PutObjectOptions{})
	if err != nil {
		return err
	}
	const minPart = 5 << 20
	parts := [][]byte{body}
	if len(body) > minPart {
		parts = [][]byte{body[:minPart], body[minPart:]}
	}
	var done []minio.CompletePart
	for i, p := range parts {
		part, err := b.Core.PutObjectPart(ctx, b.Name, key, id, i+1, bytes.NewReader(p), int64(len(p)), minio.PutObjectPartOptions{})
		if err != nil {
			return err
		}
		done = append(done, minio.CompletePart{PartNumber: part.PartNumber, ETag: part.ETag})
	}
	_, err = b.Core.CompleteMultipartUpload(ctx, b.Name, key, id, done, minio.PutObjectOptions{})
	return err
}

// Copy is CopyObject inside the bucket.
func (b Bucket) Copy(from, to string) error {
	_, err := b.Core.Client.CopyObject(context.Background(), minio.CopyDestOptions{Bucket: b.Name, Object: to}, minio.CopySrcOptions{Bucket: b.Name, Object: from})
	return err
}

// Delete is DELETE Object.
func (b Bucket) Delete(key string) error {
	return b.Core.RemoveObject(context.Background(), b.Name, key, minio.RemoveObjectOptions{})
}

// Get is GET Object.
func (b Bucket) Get(key string) ([]byte, error) {
	o, err := b.Core.Client.GetObject(context.Background(), b.Name, key, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	defer o.Close()
	body, err := io.ReadAll(o)
	if minio.ToErrorResponse(err).Code == "NoSuchKey" {
		return nil, fs.ErrNotExist
	}
	return body, err
}

// FileOps says what the workers of a directory do.
type FileOps struct {
	InPlace bool // also write files under their own names; a plain file system tears these
	Liar    bool // claim durability without fsync: the negative control
}

// Load is a set of running workers.
type Load struct {
	Ledger *harness.Ledger

	dying atomic.Bool
	wg    sync.WaitGroup
	mu    sync.Mutex
	errs  []error
}

// Dying tells the workers that errors are expected from now on, and the end of their work.
func (l *Load) Dying() { l.dying.Store(true) }

// Wait returns the errors that workers met before Dying, once all have ended.
func (l *Load) Wait() []error {
	l.wg.Wait()
	return l.errs
}

func (l *Load) run(worker string, seed uint64, step func(rng *rand.Rand) error) {
	l.wg.Go(func() {
		rng := rand.New(rand.NewPCG(seed, seed))
		for {
			err := step(rng)
			if l.dying.Load() && err != nil {
				return
			}
			if err != nil {
				l.mu.Lock()
				l.errs = append(l.errs, fmt.Errorf("%s, before any crash: %w", worker, err))
				l.mu.Unlock()
				return
			}
		}
	})
}

const namesPerWorker = 12

// S3 starts a worker on an S3 door. Keys are below the worker's name.
func (l *Load) S3(worker string, seed uint64, o Objects) {
	l.run(worker, seed, func(rng *rand.Rand) error {
		name := harness.Pick(rng, worker, namesPerWorker)
		op := rng.IntN(10)
		if op == 0 {
			l.Ledger.Remove(name)
			return l.durable(name, o.Delete(name))
		}
		_, body := l.Ledger.Write(name)
		switch op {
		case 1, 2:
			return l.durable(name, o.PutParts(name, body))
		case 3:
			if err := o.Put(worker+"/staged", body); err != nil {
				return err
			}
			return l.durable(name, o.Copy(worker+"/staged", name))
		}
		return l.durable(name, o.Put(name, body))
	})
}

func (l *Load) durable(name string, err error) error {
	if err == nil {
		l.Ledger.Durable(name)
	}
	return err
}

// Files starts a worker on the files of dir, below a directory of the worker's name.
func (l *Load) Files(worker string, seed uint64, dir string, ops FileOps) {
	w := &fileWorker{l: l, dir: dir, ops: ops}
	l.run(worker, seed, func(rng *rand.Rand) error {
		if err := os.MkdirAll(filepath.Join(dir, worker), 0o755); err != nil {
			return err
		}
		name := harness.Pick(rng, worker, namesPerWorker)
		switch op := rng.IntN(10); {
		case op == 0:
			return w.unlink(name, rng.IntN(2) == 0)
		case op <= 3 || !ops.InPlace:
			return w.saveByRename(name, rng.IntN(2) == 0)
		case op <= 5:
			return w.write(name, os.O_CREATE|os.O_WRONLY, rng.IntN(3) > 0)
		case op <= 7:
			return w.write(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, rng.IntN(3) > 0)
		}
		return w.fresh(name)
	})
}

type fileWorker struct {
	l   *Load
	dir string
	ops FileOps
}

func (w *fileWorker) path(name string) string { return filepath.Join(w.dir, name) }

// save writes body to an open file as programs do, in pieces, and cuts it to its length.
func (w *fileWorker) save(f *os.File, body []byte, sync bool) error {
	for off := 0; off < len(body); off += 100_000 {
		if _, err := f.WriteAt(body[off:min(len(body), off+100_000)], int64(off)); err != nil {
			return err
		}
	}
	if err := f.Truncate(int64(len(body))); err != nil {
		return err
	}
	if sync && !w.ops.Liar {
		return f.Sync()
	}
	return nil
}

// write replaces the content of a file without another name: the new content, whole, or the old one.
func (w *fileWorker) write(name string, flags int, sync bool) error {
	_, body := w.l.Ledger.Write(name)
	f, err := os.OpenFile(w.path(name), flags, 0o644)
	if err != nil {
		return err
	}
	err = w.save(f, body, sync)
	if err == nil && sync {
		w.l.Ledger.Durable(name) // fsync promises it, before close
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if !sync {
		w.l.Ledger.Done(name)
	}
	return nil
}

// fresh makes a file anew under a free name and fsyncs it.
func (w *fileWorker) fresh(name string) error {
	if err := w.unlink(name, false); err != nil {
		return err
	}
	return w.write(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, true)
}

// saveByRename is the checkpoint idiom; with syncDir the rename itself is made durable.
func (w *fileWorker) saveByRename(name string, syncDir bool) error {
	_, body := w.l.Ledger.Write(name)
	tmp := w.path(name) + ".tmp"
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	if err := errors.Join(w.save(f, body, true), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, w.path(name)); err != nil {
		return err
	}
	return w.settle(name, syncDir)
}

func (w *fileWorker) unlink(name string, syncDir bool) error {
	w.l.Ledger.Remove(name)
	if err := os.Remove(w.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return w.settle(name, syncDir)
}

// settle fsyncs the directory of name, which makes its newest state durable, or leaves it to time.
func (w *fileWorker) settle(name string, syncDir bool) error {
	if !syncDir {
		w.l.Ledger.Done(name)
		return nil
	}
	if !w.ops.Liar {
		d, err := os.Open(filepath.Dir(w.path(name)))
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	w.l.Ledger.Durable(name)
	return nil
}
