package fusefs

import (
	"slices"
	"sync"
	"sync/atomic"

	"k3fs/namespace"
)

// Peers are the live mounts of one daemon. What one changes in the bytes of a file is out of the page caches of
// the others before the one who changed it is answered. The zero value is ready to use.
type Peers struct {
	mu  sync.Mutex // held while all changes
	all atomic.Pointer[[]*Invalidator]
}

func (p *Peers) add(v *Invalidator) {
	p.change(func(all []*Invalidator) []*Invalidator { return append(all, v) })
}

func (p *Peers) remove(v *Invalidator) {
	p.change(func(all []*Invalidator) []*Invalidator {
		return slices.DeleteFunc(all, func(x *Invalidator) bool { return x == v })
	})
}

func (p *Peers) change(f func([]*Invalidator) []*Invalidator) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*Invalidator
	if now := p.all.Load(); now != nil {
		all = slices.Clone(*now)
	}
	all = f(all)
	p.all.Store(&all)
}

// several reports whether there are two or more.
func (p *Peers) several() bool {
	all := p.all.Load()
	return all != nil && len(*all) > 1
}

// changing is called before this door changes bytes of an inode, and the function that it returns afterwards:
// length bytes from off, or all from off if length is 0.
func (d *door) changing(ino namespace.Ino, off, length int64) (changed func()) {
	if !d.opts.Peers.several() {
		return func() {}
	}
	all := d.opts.Peers.all.Load()
	for _, v := range *all {
		if v != d.inv {
			v.mark([]namespace.Change{{Ino: ino}})
		}
	}
	return func() {
		for _, v := range *all {
			if v != d.inv {
				v.forgetBytes(d.inv, ino, off, length)
			}
		}
	}
}

// forgetBytes makes the kernel forget bytes that by's mount changed, and the attributes.
func (v *Invalidator) forgetBytes(by *Invalidator, ino namespace.Ino, off, length int64) {
	v.mark([]namespace.Change{{Ino: ino}})
	k := v.kernel.Load()
	if k == nil {
		return
	}
	v.await(by, []namespace.Ino{ino}, func() { (*k).InodeNotify(v.node(ino), off, length) })
}
