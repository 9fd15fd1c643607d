package s3api

import (
	"encoding/xml"
	"sync"
)

// What parsed keeps at most, of all documents and of one.
const (
	parsedBytes = 4 << 20
	parsedOne   = 256 << 10
)

// parsed remembers the documents of buckets that requests ask for again and again (CORS, lifecycle, website), each
// parsed once. A document is found by its own bytes, so a changed one is never taken for what it was. What it
// returns is shared and must not be changed. Its lock is a leaf.
type parsed[T any] struct {
	mu    sync.Mutex
	docs  map[string]*T
	bytes int
}

// get returns the document in raw.
func (p *parsed[T]) get(raw []byte) (*T, error) {
	p.mu.Lock()
	doc := p.docs[string(raw)]
	p.mu.Unlock()
	if doc != nil {
		return doc, nil
	}
	doc = new(T)
	if err := xml.Unmarshal(raw, doc); err != nil {
		return nil, err
	}
	if len(raw) > parsedOne {
		return doc, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.docs == nil || p.bytes+len(raw) > parsedBytes {
		p.docs, p.bytes = map[string]*T{}, 0
	}
	p.docs[string(raw)] = doc
	p.bytes += len(raw)
	return doc, nil
}
