package chunkstore

import (
	"container/list"
	"sync"
)

// frameKey is the place of a frame.
type frameKey struct {
	segment uint64
	offset  int64
}

// tocCache keeps the tocs used last, up to a bound of memory. It is split so that readers on many CPUs
// seldom meet.
type tocCache struct {
	shards [16]tocShard
}

type tocShard struct {
	mu    sync.Mutex
	room  int64
	byKey map[frameKey]*list.Element // of *toc
	order list.List                  // most recently used first

	hits, misses uint64 // of get
}

func newTOCCache(bound int64) *tocCache {
	c := &tocCache{}
	for i := range c.shards {
		c.shards[i].room = bound / int64(len(c.shards))
		c.shards[i].byKey = map[frameKey]*list.Element{}
	}
	return c
}

func (c *tocCache) shard(k frameKey) *tocShard {
	h := (k.segment ^ uint64(k.offset)/BlockSize) * 0x9e3779b97f4a7c15
	return &c.shards[h>>60]
}

func (c *tocCache) get(k frameKey) *toc {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	el := s.byKey[k]
	if el == nil {
		s.misses++
		return nil
	}
	s.hits++
	s.order.MoveToFront(el)
	return el.Value.(*toc)
}

// used says how often get found what it looked for, and how often not.
func (c *tocCache) used() (hits, misses uint64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		hits, misses = hits+s.hits, misses+s.misses
		s.mu.Unlock()
	}
	return hits, misses
}

func (c *tocCache) put(k frameKey, t *toc) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(k)
	s.byKey[k] = s.order.PushFront(t)
	s.room -= t.cost()
	for s.room < 0 {
		old := s.order.Back().Value.(*toc)
		s.drop(frameKey{old.id.segment, old.id.offset})
	}
}

func (c *tocCache) drop(k frameKey) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(k)
}

// forget drops all of a domain.
func (c *tocCache) forget(d Domain) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for k, el := range s.byKey {
			if el.Value.(*toc).id.domain == d {
				s.drop(k)
			}
		}
		s.mu.Unlock()
	}
}

// drop forgets k. s.mu must be held.
func (s *tocShard) drop(k frameKey) {
	if el := s.byKey[k]; el != nil {
		delete(s.byKey, k)
		s.room += s.order.Remove(el).(*toc).cost()
	}
}
