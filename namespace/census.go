package namespace

import (
	"context"
	"sync/atomic"

	"k3fs/metastore"
)

// census counts the inodes there are, for statfs(2). A run that ends cleanly leaves the number in the store's own
// record, from where the next one takes it; after another end they are counted anew, beside all other work.
type census struct {
	inodes  atomic.Int64
	counted atomic.Bool // else the count is under way
	cancel  context.CancelFunc
	done    chan struct{}
}

// start begins with what the last run left, 0 if that is not known.
func (c *census) start(fs *FS, left int64) {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel, c.done = cancel, make(chan struct{})
	if left > 0 {
		c.counted.Store(true)
		close(c.done)
		return
	}
	// From the state that the view shows on, updates keep the account: none may come before it.
	c.inodes.Store(0)
	begun := make(chan struct{})
	go func() {
		defer close(c.done)
		n := int64(0)
		err := fs.kv.View(ctx, func(r metastore.Reader) error {
			close(begun)
			rg := prefixRange([]byte(kInode), 1024)
			rg.KeysOnly = true
			return r.Scan(rg, func(_, _ []byte) (bool, error) {
				n++
				return true, ctx.Err()
			})
		})
		if err != nil {
			if ctx.Err() == nil {
				fs.log.Warn("namespace: the files can't be counted", "err", err)
			}
			return
		}
		c.inodes.Add(n)
		c.counted.Store(true)
	}()
	select {
	case <-begun:
	case <-c.done: // the view failed at once
	}
}

// stop ends a count under way, and returns the number to leave, 0 if it is not known.
func (c *census) stop() int64 {
	c.cancel()
	<-c.done
	if !c.counted.Load() {
		return 0
	}
	return c.inodes.Load()
}

// used is how many inodes there are.
func (c *census) used() uint64 { return uint64(max(1, c.inodes.Load())) }
