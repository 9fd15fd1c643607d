package fusefs

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/stretchr/testify/require"

	"k3fs/namespace"
)

// lockedKernel is a kernel whose one directory is locked while a request changes it.
type lockedKernel struct {
	sync.Mutex
	forgot chan string
	pruned atomic.Int32
}

func (k *lockedKernel) EntryNotify(_ uint64, name string) fuse.Status {
	k.Lock()
	defer k.Unlock()
	k.forgot <- name
	return fuse.OK
}

func (k *lockedKernel) InodeNotify(uint64, int64, int64) fuse.Status { return fuse.OK }

func (k *lockedKernel) PruneNotify([]uint64) fuse.Status {
	k.pruned.Add(1)
	return fuse.OK
}

func newKernels(n int) ([]*Invalidator, []*lockedKernel) {
	var all []*Invalidator
	var kernels []*lockedKernel
	for range n {
		v, k := NewInvalidator(), &lockedKernel{forgot: make(chan string, 2*n)}
		v.attach(k, namespace.RootIno)
		all, kernels = append(all, v), append(kernels, k)
	}
	return all, kernels
}

// Each of several mounts changes the same directory, which its kernel locks until it is answered, and each tells
// all others before it answers. None waits for ever, and in the end every kernel knows everything.
func TestMountsThatChangeOneDirectory(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		all, kernels := newKernels(n)
		var locked, answered sync.WaitGroup
		locked.Add(n)
		for i, by := range all {
			answered.Go(func() {
				kernels[i].Lock()
				defer kernels[i].Unlock()
				locked.Done()
				locked.Wait() // all requests are under way
				for j, v := range all {
					if j != i {
						v.Changed(by, []namespace.Change{{Parent: 7, Name: "a"}, {Ino: 8, Attr: true}})
					}
				}
			})
		}
		answered.Wait()
		var pruned int32
		for _, k := range kernels {
			for range n - 1 {
				require.Equal(t, "a", <-k.forgot)
			}
			pruned += k.pruned.Load()
		}
		require.Positive(t, pruned, "where it could not be waited for")
		for _, v := range all {
			require.Empty(t, v.waits.all)
			v.detach()
		}
	}
}

// A mount waits for a request of another that does not wait for it: until then names may be cached there.
func TestChangeWaitsForAnotherMountsRequest(t *testing.T) {
	all, kernels := newKernels(3)
	for name, by := range map[string]namespace.Observer{"a mount": all[0], "another door": nil} {
		t.Run(name, func(t *testing.T) {
			kernels[1].Lock() // a lookup, say
			done := make(chan struct{})
			go func() {
				defer close(done)
				all[1].Changed(by, []namespace.Change{{Parent: 7, Name: "a"}})
			}()
			select {
			case <-done:
				t.Fatal("it did not wait")
			case <-time.After(20 * time.Millisecond):
			}
			kernels[1].Unlock()
			<-done
			require.Equal(t, "a", <-kernels[1].forgot)
		})
	}
	all[1].detach()
}
