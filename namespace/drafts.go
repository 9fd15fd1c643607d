package namespace

import (
	"context"
	"encoding/binary"

	"k3fs/metastore"
)

// unsettled reports whether a file's bytes, or some of them, are in a draft that the next start has to
// settle: the inode is then listed by its draftKey.
func (n *inodeRec) unsettled() bool {
	return Type(n.Type) == File && (n.Draft != nil || n.Published == nil)
}

// settleDrafts ends the drafts of the last run, as part of recovery. What was fsynced is published. A file
// that was made, and neither closed nor fsynced since, goes: its bytes are lost, S3 never saw it, and as an
// empty file it would be one that only the mount shows.
func (fs *FS) settleDrafts(ctx context.Context) error {
	return fs.eachListed(ctx, kDraft, func(t *txn, ino Ino) error {
		n, err := getInode(t, ino)
		switch {
		case isKind(err, NotFound) || err == nil && !n.unsettled():
			return t.Delete(draftKey(ino))
		case err != nil || n.Nlink == 0: // dropZombies takes it
			return err
		case n.Draft == nil:
			return t.dropUnsettled(ino, n)
		}
		if err := t.maySettle(ino, n); refusalOf(err) != nil {
			return t.dropDraft(ino, n) // its writer was not told that it is published
		} else if err != nil {
			return err
		}
		return t.promote(ino, n, "")
	})
}

// dropUnsettled removes a file with all its names.
func (t *txn) dropUnsettled(ino Ino, n *inodeRec) error {
	type name struct {
		parent Ino
		stored string
	}
	names := []name{{Ino(n.Parent), n.Name}}
	if n.Nlink > 1 {
		names = names[:0]
		prefix := key(kLink, uint64(ino))
		err := t.Scan(prefixRange(prefix, int(n.Nlink)), func(k, _ []byte) (bool, error) {
			parent, stored := decodeLink(k[len(prefix):])
			names = append(names, name{Ino(parent), stored})
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	for _, at := range names {
		dir, err := getInode(t, at.parent)
		if err != nil {
			return err
		}
		if err := t.delDentry(at.parent, at.stored); err != nil {
			return err
		}
		if err := t.entryLeft(at.parent, dir); err != nil {
			return err
		}
		if n.Nlink > 1 {
			if err := t.Delete(linkKey(ino, at.parent, at.stored)); err != nil {
				return err
			}
		}
	}
	return t.eraseInode(ino, n)
}

// dropZombies removes the inodes that had no name, but were open, when the last run ended. It is part of
// recovery, after settleDrafts.
func (fs *FS) dropZombies(ctx context.Context) error {
	return fs.eachListed(ctx, kZombie, func(t *txn, ino Ino) error { return t.eraseZombie(ino, nil) })
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
