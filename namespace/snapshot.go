package namespace

import (
	"context"

	"k3fs/chunkstore"
	"k3fs/metastore"
)

// Snapshot calls fn with one consistent state of all records, of every room, and keeps the data that these refer to
// until fn returns: what is removed meanwhile comes free only then.
func (fs *FS) Snapshot(ctx context.Context, fn func(r metastore.Reader) error) error {
	if err := fs.reaper.lock(ctx); err != nil {
		return err
	}
	defer fs.reaper.unlock()
	return fs.kv.View(ctx, fn)
}

// Extents calls fn for every extent that records refer to, in the order of their places.
func Extents(r metastore.Reader, fn func(chunkstore.Extent) error) error {
	return r.Scan(prefixRange([]byte(kExtent), 4096), func(k, value []byte) (bool, error) {
		e, _, err := parseExtent(k, value)
		if err == nil {
			err = fn(e)
		}
		return err == nil, err
	})
}
