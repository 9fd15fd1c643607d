package namespace

import (
	"encoding/binary"
	"strings"

	"k3fs/namespace/internal/trusted"
	"k3fs/tenancy"
)

// locks checks what locks and holds go by: the bounds of directories, the holds, the clock.
func (c *checker) locks() error {
	floor, err := c.clock()
	if err != nil {
		return err
	}
	if err := c.bounds(floor); err != nil {
		return err
	}
	return c.holds()
}

// clock is the latest time that locks are known to have gone by; 0 if none is stored.
func (c *checker) clock() (floor int64, err error) {
	var rec clockRec
	found, err := getRec(c.r, key(kClock), &rec)
	if err == nil && found {
		floor, err = trusted.Floor(rec.State)
	}
	if err != nil {
		c.problem("clock", "the clock of locks can't be read: %v", err)
	}
	return floor, nil
}

// bounds checks that each directory knows until when something below it may be locked, as far as that is to come.
func (c *checker) bounds(floor int64) error {
	known := map[Ino]int64{}
	err := c.table(kLockedTo, 8, func(rest, value []byte) error {
		dir := ino(rest)
		var rec lockedToRec
		if err := decode(value, &rec); err != nil {
			return err
		}
		if n := c.nodes[dir]; n == nil || n.typ != Dir {
			c.problem("bound", "inode %d is noted as a directory with locked files, and is none", dir)
		}
		known[dir] = rec.Until
		return nil
	})
	told := map[Ino]bool{}
	for i, until := range c.locked {
		if until <= floor {
			continue
		}
		dirs, err := c.parents(i)
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			for left := len(c.nodes); dir != 0 && dir != RootIno && left > 0; left-- {
				if known[dir] < until && !told[dir] {
					told[dir] = true
					c.problem("bound", "directory %d does not know that inode %d below it is locked, and could be renamed", dir, i)
				}
				n := c.nodes[dir]
				if n == nil {
					break
				}
				dir = n.parent
			}
		}
	}
	return err
}

// parents are the directories that have a name of an inode.
func (c *checker) parents(i Ino) (dirs []Ino, err error) {
	n := c.nodes[i]
	if n.typ == Dir || n.nlink <= 1 {
		return []Ino{n.parent}, nil
	}
	prefix := key(kLink, uint64(i))
	err = c.r.Scan(prefixRange(prefix, 8), func(k, _ []byte) (bool, error) {
		parent, _ := decodeLink(k[len(prefix):])
		dirs = append(dirs, Ino(parent))
		return true, nil
	})
	return dirs, err
}

// holds checks that each hold can be read, that its scope exists, and that its tenant's note, without which it would
// not be looked for, does.
func (c *checker) holds() error {
	noted := map[tenancy.TenantID]bool{}
	return c.table(kHold, 8, func(rest, value []byte) error {
		tenant, id := tenancy.TenantID(binary.BigEndian.Uint64(rest)), string(rest[8:])
		if id == "" {
			noted[tenant] = true
			return decode(value, &holdsRec{})
		}
		if !noted[tenant] {
			noted[tenant] = true // told once
			c.problem("hold", "tenant %d has holds, and nothing says so", tenant)
		}
		var h holdRec
		if err := decode(value, &h); err != nil {
			c.problem("hold", "a hold of tenant %d can't be read, so nothing of the tenant can be changed: %v", tenant, err)
			return nil
		}
		switch n := c.nodes[Ino(h.Bucket)]; {
		case !strings.HasPrefix(id, "h-") || h.Reason == "" || h.Period < 0 || h.Period > 0 && h.Until != 0:
			c.problem("hold", "a hold of tenant %d says what no hold can", tenant)
		case h.Bucket != 0 && (n == nil || n.parent != RootIno || n.owner != uint64(tenant)):
			c.problem("hold", "a hold of tenant %d is on bucket %d, which is not the tenant's", tenant, h.Bucket)
		}
		return nil
	})
}
