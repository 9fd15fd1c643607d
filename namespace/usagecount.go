package namespace

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// tally is what is found when usage is counted anew.
type tally struct {
	scopes  map[scope]Usage
	uploads map[uploadID]int64 // bytes of the parts of those in progress
}

func (c *tally) add(s scope, u Usage) { c.scopes[s] = c.scopes[s].plus(u) }

// count counts the usage of all tenants and buckets, and of the areas, from the records of one state.
func count(ctx context.Context, r metastore.Reader, areas []*quota) (*tally, error) {
	c := &tally{scopes: map[scope]Usage{}, uploads: map[uploadID]int64{}}
	both := func(owner, bucket uint64, u Usage) {
		if owner == 0 {
			return
		}
		c.add(scope{tenant: tenancy.TenantID(owner)}, u)
		c.add(scope{tenant: tenancy.TenantID(owner), bucket: Ino(bucket)}, u)
	}
	owners := map[Ino]uint64{}
	err := eachRecord(ctx, r, kBucket, func(rest, value []byte) error {
		var b bucketRec
		err := decode(value, &b)
		owners[ino(rest)] = b.Owner
		return err
	})
	if err == nil {
		err = eachRecord(ctx, r, kInode, func(_, value []byte) error {
			var n inodeRec
			if err := decode(value, &n); err != nil {
				return err
			}
			both(n.Owner, n.Bucket, n.usage())
			return nil
		})
	}
	if err == nil {
		err = eachRecord(ctx, r, kVersion, func(rest, value []byte) error {
			var rec versionRec
			if err := decode(value, &rec); err != nil || rec.Ino != 0 {
				return err
			}
			both(owners[ino(rest)], uint64(ino(rest)), Usage{Inodes: 1})
			return nil
		})
	}
	if err == nil {
		err = eachRecord(ctx, r, kUpload, func(rest, _ []byte) error {
			id := uploadID(rest[len(rest)-len(uploadID{}):])
			n, err := partsBytes(r, id)
			if n != 0 {
				c.uploads[id] = n
			}
			both(owners[ino(rest)], uint64(ino(rest)), Usage{n, 1})
			return err
		})
	}
	for _, a := range areas {
		if err == nil {
			c.scopes[a.scope], err = countArea(ctx, r, a.scope)
		}
	}
	return c, err
}

// eachRecord calls fn for each record of a table, with its key behind the table's letters.
func eachRecord(ctx context.Context, r metastore.Reader, table string, fn func(rest, value []byte) error) error {
	return r.Scan(prefixRange([]byte(table), 4096), func(k, value []byte) (bool, error) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if len(k) < len(table)+8 {
			return false, fmt.Errorf("%w: key of table %s", metastore.ErrCorrupt, table)
		}
		err := fn(k[len(table):], value)
		return err == nil, err
	})
}

// partsBytes adds up the parts of an upload.
func partsBytes(r metastore.Reader, id uploadID) (n int64, err error) {
	err = scanParts(r, id, 0, sweepBatch, func(_ int, rec *partRec) (bool, error) {
		n += rec.Content.Size
		return true, nil
	})
	return n, err
}

// countArea counts the usage of the keys with a prefix.
func countArea(ctx context.Context, r metastore.Reader, s scope) (u Usage, err error) {
	add := func(_ string, n *inodeRec) error {
		u = u.plus(n.usage())
		return ctx.Err()
	}
	dir := s.bucket
	for rest := s.prefix; rest != ""; {
		i := strings.IndexByte(rest, '/') + 1
		e, err := storedEntry(r, dir, rest[:i])
		if err != nil {
			return u, err
		}
		if !e.found() {
			dir = 0
			break
		}
		dir, rest = Ino(e.Ino), rest[i:]
	}
	if dir != 0 {
		n, err := getInode(r, dir)
		if err == nil {
			err = add("", n)
		}
		if err == nil {
			err = walkCharged(r, dir, "", add)
		}
		if err != nil {
			return u, err
		}
	}
	hung := append(key(kVersion, uint64(s.bucket)), s.prefix...)
	err = r.Scan(prefixRange(hung, 1024), func(_, value []byte) (bool, error) {
		var rec versionRec
		if err := decode(value, &rec); err != nil {
			return false, err
		}
		if rec.Ino == 0 {
			u.Inodes++
			return true, ctx.Err()
		}
		n, err := getInode(r, Ino(rec.Ino))
		if err != nil {
			return false, err
		}
		return true, add("", n)
	})
	if err != nil {
		return u, err
	}
	uploads := append(key(kUpload, uint64(s.bucket)), s.prefix...)
	err = r.Scan(prefixRange(uploads, 64), func(k, _ []byte) (bool, error) {
		n, err := partsBytes(r, uploadID(k[len(k)-len(uploadID{}):]))
		u = u.plus(Usage{n, 1})
		return err == nil, err
	})
	return u, err
}

// ensureUsage counts the usage of a store that an earlier program made, in one pass, before anything else happens. A
// crash in between repeats it: the mark that it is done is the last that is written.
func (fs *FS) ensureUsage(ctx context.Context) error {
	var counted *tally
	err := fs.kv.View(ctx, func(r metastore.Reader) error {
		done, err := hasKey(r, key(kUsage))
		if err != nil || done {
			return err
		}
		counted, err = count(ctx, r, nil)
		return err
	})
	if err != nil || counted == nil {
		return err
	}
	for _, table := range []string{kUsage, kUploaded} {
		if err := fs.clearTable(ctx, []byte(table)); err != nil {
			return err
		}
	}
	type counter struct {
		key []byte
		n   int64
	}
	var all []counter
	for s, u := range counted.scopes {
		b, i := s.counters()
		all = append(all, counter{b, u.Bytes}, counter{i, u.Inodes})
	}
	for id, n := range counted.uploads {
		all = append(all, counter{uploadedKey(id), n})
	}
	for len(all) > 0 {
		batch := all[:min(len(all), 1000)]
		all = all[len(batch):]
		err := fs.kv.Update(ctx, metastore.Reclaim, func(t metastore.Txn) error {
			for _, c := range batch {
				if err := t.Add(c.key, c.n, unbounded); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return fs.kv.Update(ctx, metastore.DurableReclaim, func(t metastore.Txn) error { return t.Set(key(kUsage), nil) })
}

// VerifyUsage counts all usage anew, in one consistent state while the namespace goes on, and returns how the counters
// differ from it; nil if they don't.
func (fs *FS) VerifyUsage(ctx context.Context) (problems []Problem, err error) {
	err = fs.kv.View(ctx, func(r metastore.Reader) error {
		problems, err = verifyUsage(ctx, r)
		return err
	})
	return problems, err
}

// usage compares the counters of usage with a recount.
func (c *checker) usage() error {
	problems, err := verifyUsage(c.ctx, c.r)
	for _, p := range problems {
		c.problem(p.Code, "%s", p.Text)
	}
	if err != nil && c.ctx.Err() == nil {
		c.problem("usage", "usage can't be counted: %v", err)
		return nil
	}
	return err
}

func verifyUsage(ctx context.Context, r metastore.Reader) (problems []Problem, err error) {
	if done, err := hasKey(r, key(kUsage)); err != nil || !done {
		return nil, err
	}
	quotas, err := scanQuotas(r)
	if err != nil {
		return nil, err
	}
	var areas []*quota
	counting := map[scope]bool{}
	for _, q := range quotas {
		if q.prefix != "" && q.Counting {
			counting[q.scope] = true
		} else if q.prefix != "" {
			areas = append(areas, q)
		}
	}
	want, err := count(ctx, r, areas)
	if err != nil {
		return nil, err
	}
	differs := func(format string, args ...any) {
		problems = append(problems, Problem{"usage", fmt.Sprintf(format, args...)})
	}
	err = eachRecord(ctx, r, kUploaded, func(rest, value []byte) error {
		n, err := metastore.DecodeCounter(value)
		if id := uploadID(rest); err == nil && n != want.uploads[id] {
			differs("upload %s is charged with parts of %d bytes, and has %d", id, n, want.uploads[id])
		} else {
			delete(want.uploads, id)
		}
		return err
	})
	for id, n := range want.uploads {
		differs("upload %s has parts of %d bytes, and is not charged", id, n)
	}
	if err != nil {
		return problems, err
	}
	charged, err := chargedScopes(ctx, r)
	if err != nil {
		return problems, err
	}
	for s, u := range charged {
		if u != want.scopes[s] && !counting[s] {
			differs("tenant %d, bucket %d, prefix %t: charged %+v, counted %+v", s.tenant, s.bucket, s.prefix != "", u, want.scopes[s])
		}
		delete(want.scopes, s)
	}
	for s, u := range want.scopes {
		if u != (Usage{}) {
			differs("tenant %d, bucket %d, prefix %t: not charged, counted %+v", s.tenant, s.bucket, s.prefix != "", u)
		}
	}
	return problems, nil
}

// chargedScopes reads all counters.
func chargedScopes(ctx context.Context, r metastore.Reader) (map[scope]Usage, error) {
	all := map[scope]Usage{}
	err := r.Scan(prefixRange(key(kUsage), 1024), func(k, value []byte) (bool, error) {
		rest := k[len(kUsage):]
		if len(rest) == 0 {
			return true, nil
		}
		n, err := metastore.DecodeCounter(value)
		if err != nil || len(rest) < 17 {
			return false, fmt.Errorf("%w: counter of usage: %w", metastore.ErrCorrupt, err)
		}
		s := scope{tenancy.TenantID(binary.BigEndian.Uint64(rest)), ino(rest[8:]), string(rest[17:])}
		u := all[s]
		if bytes.HasPrefix(rest[16:], []byte{'b'}) {
			u.Bytes = n
		} else {
			u.Inodes = n
		}
		all[s] = u
		return true, ctx.Err()
	})
	return all, err
}
