package payload

import (
	"crypto/md5"
	"hash"
	"sync"
)

const (
	// inlineMD5 is the size up to which MD5 is computed in place: about 0.1 ms.
	inlineMD5 = 64 << 10
	// blockSize and queueLength bound what waits for the MD5 of one body: 2 MiB.
	blockSize   = 256 << 10
	queueLength = 8
)

type block struct {
	data [blockSize]byte
	n    int
}

// blockPool recycles blocks among the bodies of an Opener.
type blockPool struct{ pool sync.Pool }

func (p *blockPool) get() *block {
	if b, ok := p.pool.Get().(*block); ok {
		b.n = 0
		return b
	}
	return new(block)
}

func (p *blockPool) put(b *block) { p.pool.Put(b) }

// md5Sum computes an MD5, of larger bodies in a goroutine that ends after end.
type md5Sum struct {
	hash   hash.Hash
	pool   *blockPool
	fill   *block        // being filled; nil if none
	blocks chan *block   // to the goroutine; nil if the sum is computed inline
	done   chan struct{} // closed when sum is final
	ended  bool
	sum    [md5.Size]byte
}

func newMD5(pool *blockPool, length int64) *md5Sum {
	m := &md5Sum{hash: md5.New(), pool: pool, done: make(chan struct{})}
	if length > inlineMD5 {
		m.blocks = make(chan *block, queueLength)
		go m.run()
	}
	return m
}

func (m *md5Sum) run() {
	for b := range m.blocks {
		m.hash.Write(b.data[:b.n])
		m.pool.put(b)
	}
	m.hash.Sum(m.sum[:0])
	close(m.done)
}

// write takes a copy of p.
func (m *md5Sum) write(p []byte) {
	if m.blocks == nil {
		m.hash.Write(p)
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
	if m.blocks == nil {
		m.hash.Sum(m.sum[:0])
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
