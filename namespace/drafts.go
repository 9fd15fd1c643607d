package namespace

import (
	"context"
	"encoding/binary"

	"k3fs/metastore"
)

// publishPersistedDrafts publishes what was fsynced, and not yet published, when the last run ended. It
// is part of recovery.
func (fs *FS) publishPersistedDrafts(ctx context.Context) error {
	return fs.eachListed(ctx, kDraft, func(t *txn, ino Ino) error {
		n, err := getInode(t, ino)
		switch {
		case isKind(err, NotFound) || err == nil && n.Draft == nil:
			return t.Delete(draftKey(ino))
		case err != nil || n.Nlink == 0: // dropZombies takes it
			return err
		}
		return t.promote(ino, n)
	})
}

// dropZombies removes the inodes that had no name, but were open, when the last run ended. It is part of
// recovery, after publishPersistedDrafts.
func (fs *FS) dropZombies(ctx context.Context) error {
	return fs.eachListed(ctx, kZombie, func(t *txn, ino Ino) error { return t.eraseZombie(ino) })
}

// eachListed runs fn for each inode that has a key of the kind, some in each update.
func (fs *FS) eachListed(ctx context.Context, kind string, fn func(*txn, Ino) error) error {
	const batch = 256
	from := key(kind)
	for {
		var inos []Ino
		err := fs.kv.View(ctx, func(r metastore.Reader) error {
			inos = inos[:0]
			rg := metastore.Range{From: from, To: prefixEnd(key(kind)), Page: batch, KeysOnly: true}
			return r.Scan(rg, func(k, _ []byte) (bool, error) {
				inos = append(inos, Ino(binary.BigEndian.Uint64(k[len(kind):])))
				return len(inos) < batch, nil
			})
		})
		if err != nil || len(inos) == 0 {
			return err
		}
		err = fs.update(ctx, metastore.Reclaim, nil, func(t *txn) error {
			for _, ino := range inos {
				if err := fn(t, ino); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		from = append(key(kind, uint64(inos[len(inos)-1])), 0)
	}
}
