package payload

import (
	"crypto/md5"
	"hash"
	"sync"
	"sync/atomic"

	md5simd "github.com/minio/md5-simd"
)

const (
	// inlineMD5 is the size up to which MD5 is computed in place: about 0.1 ms.
	inlineMD5 = 64 << 10
	// blockSize and queueLength bound what waits for the MD5 of one body: 2 MiB.
	blockSize   = 256 << 10
	queueLength = 8
	// lanesFrom is the number of bodies in progress from which computing their MD5s side by side in the
	// lanes of SIMD registers costs less CPU than one after the other. One alone is slower that way.
	lanesFrom = 4
)

type block struct {
	data [blockSize]byte
	n    int
}

// md5Pool is what the MD5s of an Opener's bodies share. The zero value is ready.
type md5Pool struct {
	blocks  sync.Pool
	active  atomic.Int32   // goroutines that compute an MD5
	running sync.WaitGroup // the same, to wait for

	mu     sync.Mutex
	lanes  md5simd.Server // nil until first used; guarded by mu
	closed bool           // guarded by mu
}

func (p *md5Pool) get() *block {
	if b, ok := p.blocks.Get().(*block); ok {
		b.n = 0
		return b
	}
	return new(block)
}

// hash starts an MD5 and says how to give it back.
func (p *md5Pool) hash(active int32) (h hash.Hash, release func()) {
	if active >= lanesFrom {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.lanes == nil && !p.closed {
			p.lanes = md5simd.NewServer()
		}
		if !p.closed {
			h := p.lanes.NewHash()
			return h, h.Close
		}
	}
	return md5.New(), func() {}
}

func (p *md5Pool) close() {
	p.running.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lanes != nil {
		p.lanes.Close()
		p.lanes = nil
	}
	p.closed = true
}

// md5Sum computes an MD5, of larger bodies in a goroutine that ends after end.
type md5Sum struct {
	inline hash.Hash // nil if there is a goroutine
	pool   *md5Pool
	fill   *block        // being filled; nil if none
	blocks chan *block   // to the goroutine
	done   chan struct{} // closed when sum is final
	ended  bool
	sum    [md5.Size]byte
}

func newMD5(pool *md5Pool, length int64) *md5Sum {
	m := &md5Sum{pool: pool, done: make(chan struct{})}
	if length <= inlineMD5 {
		m.inline = md5.New()
		return m
	}
	m.blocks = make(chan *block, queueLength)
	active := pool.active.Add(1)
	pool.running.Go(func() { m.run(active) })
	return m
}

func (m *md5Sum) run(active int32) {
	defer m.pool.active.Add(-1)
	h, release := m.pool.hash(active)
	defer release()
	for b := range m.blocks {
		h.Write(b.data[:b.n])
		m.pool.blocks.Put(b)
	}
	h.Sum(m.sum[:0])
	close(m.done)
}

// write takes a copy of p.
func (m *md5Sum) write(p []byte) {
	if m.inline != nil {
		m.inline.Write(p)
		return
	}
	for len(p) > 0 {
		if m.fill == nil {
			m.fill = m.pool.get()
		}
		n := copy(m.fill.data[m.fill.n:], p)
		m.fill.n += n
		p = p[n:]
		if m.fill.n == blockSize {
			m.blocks <- m.fill
			m.fill = nil
		}
	}
}

// end says that no more data comes. It may be called more than once.
func (m *md5Sum) end() {
	if m.ended {
		return
	}
	m.ended = true
	if m.inline != nil {
		m.inline.Sum(m.sum[:0])
		close(m.done)
		return
	}
	if m.fill != nil {
		m.blocks <- m.fill
		m.fill = nil
	}
	close(m.blocks)
}

// wait returns the sum. end must have been called.
func (m *md5Sum) wait() [md5.Size]byte {
	<-m.done
	return m.sum
}
