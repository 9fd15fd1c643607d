package namespace

import (
	"context"
	"sync"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// reserveAhead is how much more than it needs a draft reserves of a quota that has plenty, in bytes: so that not each
// small write has to ask.
const reserveAhead = 1 << 20

// reservations are the bytes by which drafts in memory will exceed what their files are charged with, by scope. They
// let a write(2) fail in time; what is stored is charged, and checked, by its update.
type reservations struct {
	mu    sync.Mutex
	bytes map[scope]int64 // guarded by mu
}

// growth is what a file's draft has reserved. It is guarded by file.mu.
type growth struct {
	table  *quotaTable // of which quotas are; nil: not asked yet
	quotas []*quota    // that bound the file's bytes
	paid   int64       // bytes of the draft that the file is charged with already
	held   int64       // bytes reserved beyond them
}

// grow makes sure that quotas let the draft become as large as size. f.mu must be held.
func (f *file) grow(ctx context.Context, size int64) error {
	table := f.fs.quotas.table.Load()
	if table == nil {
		return nil
	}
	if f.growth.table != table {
		f.ungrow()
		if err := f.findQuotas(ctx, table); err != nil {
			return err
		}
	}
	g := &f.growth
	if need := size - g.paid - g.held; len(g.quotas) > 0 && need > 0 {
		return f.fs.reserveBytes(ctx, g, need)
	}
	return nil
}

// findQuotas notes which quotas bound the file's bytes, and what it is charged with.
func (f *file) findQuotas(ctx context.Context, table *quotaTable) error {
	return f.fs.kv.View(ctx, func(r metastore.Reader) error {
		n, err := getInode(r, f.ino)
		if err != nil {
			return err
		}
		g := growth{table: table, paid: n.charged.Bytes}
		all, err := f.fs.quotasOf(r, table, n)
		if err != nil {
			return err
		}
		for _, q := range all {
			if q.Bytes|q.SoftBytes != 0 {
				g.quotas = append(g.quotas, q)
			}
		}
		set, err := f.fs.settingsOf(r, Ino(n.Bucket))
		if n.Published != nil && versioningOf(set) != unversioned { // it stays, as an older version
			g.paid -= n.Published.Size
		}
		f.growth = g
		return err
	})
}

// quotasOf are the quotas that cover an inode.
func (fs *FS) quotasOf(r metastore.Reader, table *quotaTable, n *inodeRec) ([]*quota, error) {
	objectKey := ""
	if table != nil && len(table.parts[Ino(n.Bucket)]) > 0 {
		var err error
		if objectKey, err = n.charge().objectKey(r); err != nil {
			return nil, err
		}
	}
	return table.covering(tenancy.TenantID(n.Owner), Ino(n.Bucket), objectKey), nil
}

// reserveBytes reserves bytes for a draft, of all quotas or none.
func (fs *FS) reserveBytes(ctx context.Context, g *growth, need int64) error {
	return fs.kv.View(ctx, func(r metastore.Reader) error {
		ask := need + reserveAhead
		res := &fs.quotas.drafts
		res.mu.Lock()
		defer res.mu.Unlock()
		for _, q := range g.quotas {
			room, bound, err := fs.roomIn(r, q)
			if err != nil {
				return err
			}
			left := room.bytes - res.bytes[q.scope]
			if left < need {
				return q.exceeded(bound.bytes, "bytes")
			}
			if left < ask {
				ask = need
			}
		}
		if res.bytes == nil {
			res.bytes = map[scope]int64{}
		}
		for _, q := range g.quotas {
			res.bytes[q.scope] += ask
		}
		g.held += ask
		return nil
	})
}

// ungrow gives back what the draft has reserved. f.mu must be held.
func (f *file) ungrow() {
	g := &f.growth
	if g.held > 0 {
		res := &f.fs.quotas.drafts
		res.mu.Lock()
		for _, q := range g.quotas {
			if res.bytes[q.scope] -= g.held; res.bytes[q.scope] == 0 {
				delete(res.bytes, q.scope)
			}
		}
		res.mu.Unlock()
	}
	f.growth = growth{}
}

// roomIn is what is left of a quota, negative if it is exceeded, and what it allows at the moment.
func (fs *FS) roomIn(r metastore.Reader, q *quota) (left, bound limits, err error) {
	if q.Counting {
		return limits{unbounded, unbounded}, limits{unbounded, unbounded}, nil
	}
	rec := q.quotaRec
	if rec.SoftBytes|rec.SoftInodes != 0 { // since when they are exceeded is in the stored record
		if _, err := getRec(r, q.quotaKey(), &rec); err != nil {
			return left, bound, err
		}
	}
	used, err := usageOf(r, q.scope)
	bound = rec.now(used, fs.trusted())
	left = bound
	if bound.bytes != unbounded {
		left.bytes -= used.Bytes
	}
	if bound.inodes != unbounded {
		left.inodes -= used.Inodes
	}
	return left, bound, err
}

// mayGrow asks before a body is read whether quotas let a key's scopes grow by so much; the update asks again. What an
// unversioned bucket has under the key is replaced.
func (fs *FS) mayGrow(r metastore.Reader, b *bucketDir, objectKey string, size int64, replaces bool) error {
	table := fs.quotas.table.Load()
	all := table.covering(b.owner(), b.ino, objectKey)
	if len(all) == 0 || size <= 0 {
		return nil
	}
	if replaces && versioningOf(b.settings) == unversioned {
		o, err := findObject(r, b, objectKey)
		if err != nil {
			return err
		}
		if o.rec != nil && o.rec.Nlink < 2 {
			size -= o.rec.usage().Bytes
		}
	}
	for _, q := range all {
		left, bound, err := fs.roomIn(r, q)
		if err != nil {
			return err
		}
		if size > 0 && left.bytes < size {
			return q.exceeded(bound.bytes, "bytes")
		}
	}
	return nil
}

// statfs narrows what a file system shows to the tightest of the quotas that cover an inode.
func (v *View) statfs(r metastore.Reader, n *inodeRec, s *StatFS) error {
	table := v.fs.quotas.table.Load()
	all, err := v.fs.quotasOf(r, table, n)
	if n.Owner == 0 {
		all = table.covering(v.who.Tenant, 0, "")
	}
	if err != nil {
		return err
	}
	files := int64(unbounded)
	for _, q := range all {
		left, _, err := v.fs.roomIn(r, q)
		if err != nil {
			return err
		}
		used, err := usageOf(r, q.scope)
		if err != nil {
			return err
		}
		if free := max(0, left.bytes); q.Bytes|q.SoftBytes != 0 && (free < s.Avail || free == s.Avail && used.Bytes+free < s.Total) {
			s.Total, s.Free, s.Avail = used.Bytes+free, free, free
		}
		if free := max(0, left.inodes); q.Inodes|q.SoftInodes != 0 && free < files {
			files = free
			s.Files, s.FilesFree = uint64(used.Inodes+free), uint64(free)
		}
	}
	return nil
}
