package namespace

import (
	"strings"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// Usage is what is charged to a tenant, a bucket, or a directory with a quota (docs/semantics.md says what counts).
//
// Each update charges what it changes to counters, to which the store adds when it commits: they are exact after any
// crash, and no two updates conflict over them. putInode and eraseInode charge inodes by comparing what a record holds
// with what it held when it was read; delete markers and uploads are charged where they are made and end.
type Usage struct {
	Bytes  int64 // logical: the sizes of files and versions, and of the parts of uploads in progress
	Inodes int64 // files, directories and all else with an inode, versions, delete markers, uploads
}

func (u Usage) plus(o Usage) Usage  { return Usage{u.Bytes + o.Bytes, u.Inodes + o.Inodes} }
func (u Usage) minus(o Usage) Usage { return Usage{u.Bytes - o.Bytes, u.Inodes - o.Inodes} }

// scope is what has counters: a tenant, one of its buckets, or the keys of a bucket with a prefix that has a quota.
type scope struct {
	tenant tenancy.TenantID
	bucket Ino    // 0: all of the tenant's
	prefix string // empty: all of the bucket's
}

// counters are the keys of a scope's counters.
func (s scope) counters() (bytes, inodes []byte) {
	at := func(what byte) []byte {
		return append(append(key(kUsage, uint64(s.tenant), uint64(s.bucket)), what), s.prefix...)
	}
	return at('b'), at('i')
}

// usageOf reads a scope's counters.
func usageOf(r metastore.Reader, s scope) (u Usage, err error) {
	bytes, inodes := s.counters()
	if u.Bytes, err = metastore.Counter(r, bytes); err == nil {
		u.Inodes, err = metastore.Counter(r, inodes)
	}
	return u, err
}

// usage is what an inode counts as: of a file with a persisted draft, the larger of that and what S3 reads.
func (n *inodeRec) usage() Usage {
	if n.Owner == 0 { // the root
		return Usage{}
	}
	u := Usage{Inodes: 1}
	if n.Published != nil {
		u.Bytes = n.Published.Size
	}
	if n.Draft != nil {
		u.Bytes = max(u.Bytes, n.Draft.Size)
	}
	return u
}

// charge is what an inode is charged with, and where.
type charge struct {
	Usage
	spot
}

// spot is one name of an inode, or the key on which it hangs; the zero spot is nowhere.
type spot struct {
	parent    uint64
	name, key string
}

func (n *inodeRec) charge() charge {
	c := charge{Usage: n.usage()}
	if n.hung() {
		c.key = n.Key
	} else if n.Nlink > 0 {
		c.parent, c.name = n.Parent, n.Name
	}
	return c
}

// objectKey is the key that a spot stands for; empty if it is nowhere.
func (s spot) objectKey(r metastore.Reader) (string, error) {
	if s.key != "" || s.parent == 0 {
		return s.key, nil
	}
	_, k, err := keyOf(r, &inodeRec{Nlink: 1, Parent: s.parent, Name: s.name})
	return k, err
}

// debit is what an update owes to a scope.
type debit struct {
	scope
	Usage
}

// owe notes what an update adds to a scope.
func (t *txn) owe(s scope, u Usage) {
	if u == (Usage{}) || s.tenant == 0 {
		return
	}
	for i := range t.debits {
		if t.debits[i].scope == s {
			t.debits[i].Usage = t.debits[i].plus(u)
			return
		}
	}
	t.debits = append(t.debits, debit{s, u})
}

// recharge charges the difference between an inode's record and what is stored of it. gone: it is removed.
func (t *txn) recharge(n *inodeRec, gone bool) error {
	was, now := n.charged, charge{}
	if !gone {
		now = n.charge()
	}
	if was == now {
		return nil
	}
	n.charged = now
	owner, bucket := tenancy.TenantID(n.Owner), Ino(n.Bucket)
	diff := now.minus(was.Usage)
	t.owe(scope{tenant: owner}, diff)
	t.owe(scope{tenant: owner, bucket: bucket}, diff)
	areas := t.fs.quotas.areas(bucket)
	if len(areas) == 0 {
		return nil
	}
	from, err := was.objectKey(t)
	if err != nil {
		return err
	}
	to := from
	if was.spot != now.spot {
		if to, err = now.objectKey(t); err != nil {
			return err
		}
	}
	t.move(areas, owner, bucket, from, was.Usage, to, now.Usage)
	return nil
}

// move takes a charge away from the areas of one key and gives another to those of another; an empty key has none.
func (t *txn) move(areas []*quota, owner tenancy.TenantID, bucket Ino, from string, was Usage, to string, now Usage) {
	for _, a := range areas {
		var diff Usage
		if from != "" && strings.HasPrefix(from, a.prefix) {
			diff = diff.minus(was)
		}
		if to != "" && strings.HasPrefix(to, a.prefix) {
			diff = diff.plus(now)
		}
		t.owe(scope{owner, bucket, a.prefix}, diff)
	}
}

// chargeKey charges what has a key and no inode: uploads, delete markers.
func (t *txn) chargeKey(owner tenancy.TenantID, bucket Ino, objectKey string, u Usage) {
	t.owe(scope{tenant: owner}, u)
	t.owe(scope{tenant: owner, bucket: bucket}, u)
	t.move(t.fs.quotas.areas(bucket), owner, bucket, "", Usage{}, objectKey, u)
}

// chargeMarkers charges delete markers of a bucket's key.
func (t *txn) chargeMarkers(bucket Ino, objectKey string, n int64) error {
	if !t.setRead || t.setOf != bucket {
		if err := t.readSet(bucket); err != nil {
			return err
		}
	}
	t.chargeKey(t.setOwner, bucket, objectKey, Usage{Inodes: n}) // nobody's if the bucket is gone
	return nil
}

// maxMoved bounds the entries of a directory that is renamed into or out of the prefix of a quota. More must be copied.
const maxMoved = 10_000

// moveTree moves the charges of what is below a directory whose key changes from one to another.
func (t *txn) moveTree(ino Ino, n *inodeRec, from, to string) error {
	areas := t.fs.quotas.areas(Ino(n.Bucket))
	same := true
	for _, a := range areas {
		inside := strings.HasPrefix(a.prefix, from) || strings.HasPrefix(a.prefix, to)
		same = same && !inside && strings.HasPrefix(from, a.prefix) == strings.HasPrefix(to, a.prefix)
	}
	if same {
		return nil
	}
	most := maxMoved
	return walkCharged(t, ino, "", func(rel string, n *inodeRec) error {
		if most--; most < 0 {
			return because(CrossBucket, "the directory lies in the prefix of another quota, and has more than %d entries", maxMoved)
		}
		u := n.usage()
		t.move(areas, tenancy.TenantID(n.Owner), Ino(n.Bucket), from+rel, u, to+rel, u)
		return nil
	})
}

// walkCharged calls fn for what is below a directory and is charged there, which an inode with several names is at one
// of them. rel is the key below the directory.
func walkCharged(r metastore.Reader, dir Ino, rel string, fn func(rel string, n *inodeRec) error) error {
	prefix := dentryKey(dir, "")
	return r.Scan(prefixRange(prefix, 256), func(k, value []byte) (bool, error) {
		var d dentryRec
		if _, err := d.UnmarshalMsg(value); err != nil {
			return false, err
		}
		stored := string(k[len(prefix):])
		n, err := getInode(r, Ino(d.Ino))
		if err != nil {
			return false, err
		}
		if Ino(n.Parent) == dir && n.Name == stored {
			if err := fn(rel+stored, n); err != nil {
				return false, err
			}
		}
		if isDirName(stored) {
			err = walkCharged(r, Ino(d.Ino), rel+stored, fn)
		}
		return err == nil, err
	})
}
