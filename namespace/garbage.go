package namespace

import (
	"fmt"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// garbage is a content that nothing refers to, and the record that says so.
type garbage struct {
	key     []byte // of the record
	content contentRec
	tenant  tenancy.TenantID
	upload  uploadID // whose part it is, or whose note
	part    int
}

// source finds garbage: some of it, from a key on, which is nil at first. next is where to go on, nil at the end. Of
// the uploads in ended it is the last.
type source func(r metastore.Reader, from []byte) (found []garbage, ended []uploadID, next []byte, err error)

// orphans are the contents that were dropped.
func (c *collector) orphans(r metastore.Reader, from []byte) (found []garbage, _ []uploadID, next []byte, err error) {
	seen := 0
	err = r.Scan(restOf([]byte(kOrphan), from), func(k, value []byte) (bool, error) {
		var o orphanRec
		if _, err := o.UnmarshalMsg(value); err != nil {
			return false, fmt.Errorf("%w: orphan record: %w", metastore.ErrCorrupt, err)
		}
		if seen++; seen == reapBatch {
			next = append(append(next, k...), 0)
		}
		if o.Building {
			c.did.Waiting++
		} else {
			found = append(found, garbage{key: orphanKey(contentID(o.Content.ID)), content: o.Content, tenant: tenancy.TenantID(o.Domain)})
		}
		return next == nil, nil
	})
	return found, nil, next, err
}

// restOf is a table from a key on, which is nil at its beginning.
func restOf(table, from []byte) metastore.Range {
	rg := prefixRange(table, reapBatch)
	if from != nil {
		rg.From = from
	}
	return rg
}

// finished are the notes of uploads that were finished long ago.
func (c *collector) finished(r metastore.Reader, from []byte) (found []garbage, _ []uploadID, next []byte, err error) {
	limit := c.fs.now().Add(-doneFor).UnixNano()
	seen := 0
	err = r.Scan(restOf([]byte(kDone), from), func(k, value []byte) (bool, error) {
		var rec doneRec
		if _, err := rec.UnmarshalMsg(value); err != nil || len(k) != len(kDone)+len(uploadID{}) {
			return false, fmt.Errorf("%w: note of a finished upload: %w", metastore.ErrCorrupt, err)
		}
		if seen++; seen == reapBatch {
			next = append(append(next, k...), 0)
		}
		if rec.Time < limit {
			up := uploadID(k[len(kDone):])
			found = append(found, garbage{key: doneKey(up), upload: up})
		}
		return next == nil, nil
	})
	return found, nil, next, err
}

// parts are those of uploads that ended. from is the key of an upload, and the part behind which it goes on.
func (c *collector) parts(r metastore.Reader, from []byte) (found []garbage, ended []uploadID, next []byte, err error) {
	const size = len(kEnded) + len(uploadID{})
	behind := 0
	if len(from) > size {
		behind = int(from[size])<<8 | int(from[size+1])
		from = from[:size]
	}
	err = r.Scan(restOf([]byte(kEnded), from), func(k, value []byte) (bool, error) {
		if len(k) != size || len(value) != 8 {
			return false, fmt.Errorf("%w: record of an ended upload", metastore.ErrCorrupt)
		}
		up, tenant := uploadID(k[len(kEnded):]), tenancy.TenantID(ino(value))
		err := scanParts(r, up, behind, reapBatch, func(number int, rec *partRec) (bool, error) {
			found = append(found, garbage{partKey(up, number), rec.Content, tenant, up, number})
			if len(found) == reapBatch {
				next = append(endedKey(up), byte(number>>8), byte(number))
			}
			return next == nil, nil
		})
		behind = 0
		if next != nil || err != nil {
			return false, err
		}
		if ended = append(ended, up); len(ended) == reapBatch {
			next = append(endedKey(up), 0xff, 0xff)
		}
		return next == nil, nil
	})
	return found, ended, next, err
}

// unread leaves out what is read or copied from, and what can't be collected. What is found must be durable.
func (c *collector) unread(found []garbage) (batch []garbage) {
	fs := c.fs
	// Views that began before the contents were dropped may have found them reachable; once they are over, what they
	// wanted is pinned. Later views find nothing.
	fs.gate.Lock()
	defer fs.gate.Unlock()
	for _, g := range found {
		id := contentID(g.content.ID)
		waits := id != 0 && fs.pinned(id)
		if waits {
			fs.reaper.pinned.Store(true)
			waits = fs.pinned(id) // unpinned between the question and the note, nobody would wake us for it
		}
		switch {
		case waits:
			c.did.Waiting++
		case fs.reaper.broken[id]:
			c.did.Damaged++
		default:
			batch = append(batch, g)
			continue
		}
		c.held[g.upload] = true
	}
	return batch
}
