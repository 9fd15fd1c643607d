package namespace

import (
	"encoding/binary"
)

// versions checks that what hangs on keys and the inodes that say so agree.
func (c *checker) versions() error {
	hooks := map[Ino]bool{}
	nulls := map[string]uint64{}
	err := c.table(kVersion, 8+1+8, func(rest, value []byte) error {
		bucket := ino(rest)
		objectKey, seq, ok := parseVersionKey(rest[8:])
		if !ok {
			c.problem("version", "a key of the versions of bucket %d is damaged", bucket)
			return nil
		}
		var rec versionRec
		if err := decode(value, &rec); err != nil {
			return err
		}
		if n := c.nodes[bucket]; n == nil || n.parent != RootIno {
			c.problem("version", "versions hang in bucket %d, which does not exist", bucket)
		}
		if rec.ID == "" {
			at := string(nullKey(bucket, objectKey))
			if _, two := nulls[at]; two {
				c.problem("version", "a key of bucket %d has two null versions", bucket)
			}
			nulls[at] = seq
		}
		if rec.Ino == 0 {
			return nil
		}
		i := Ino(rec.Ino)
		n := c.nodes[i]
		if n == nil || n.hook != (hook{objectKey, seq, rec.ID}) || n.bucket != uint64(bucket) || n.typ != File {
			c.problem("version", "inode %d does not hang on a key of bucket %d that says so", i, bucket)
			return nil
		}
		hooks[i] = true
		return c.shortVersion(i, rec.Listed)
	})
	for i, n := range c.nodes {
		if n.hook.key != "" && !hooks[i] {
			c.problem("version", "inode %d hangs on a key that does not know of it", i)
		}
	}
	if err != nil {
		return err
	}
	return c.nullTable(nulls)
}

// hook is where a version hangs.
type hook struct {
	key     string
	seq     uint64
	version string
}

// shortVersion is short for what hangs on a key.
func (c *checker) shortVersion(i Ino, listed []byte) error {
	n, err := getInode(c.r, i)
	if err != nil || n.Published == nil {
		c.problem("version", "version %d has no content: %v", i, err)
		return nil
	}
	want, err := shortOf(n)
	if err == nil && string(want) != string(listed) {
		c.problem("listed", "the key of version %d tells listings what its record does not say", i)
	}
	return err
}

// nullTable checks the places of null versions.
func (c *checker) nullTable(nulls map[string]uint64) error {
	err := c.table(kNull, 8, func(rest, value []byte) error {
		at := kNull + string(rest)
		if seq, ok := nulls[at]; !ok || len(value) != 8 || binary.BigEndian.Uint64(value) != seq {
			c.problem("version", "the null version of a key of bucket %d is not where it is noted", ino(rest))
		}
		delete(nulls, at)
		return nil
	})
	for at := range nulls {
		c.problem("version", "the null version of a key of bucket %d is not noted", ino([]byte(at[len(kNull):])))
	}
	return err
}

// held notes one more inode that has a content, and reports whether it is the first.
func (c *checker) held(rec *contentRec) bool {
	id := contentID(rec.ID)
	c.holders[id]++
	return c.holders[id] == 1
}

// shared checks the counts of contents that several inodes may have.
func (c *checker) shared() error {
	err := c.table(kShared, 8, func(rest, value []byte) error {
		id := contentID(binary.BigEndian.Uint64(rest))
		var rec sharedRec
		if err := decode(value, &rec); err != nil {
			return err
		}
		if rec.Refs != c.holders[id] || rec.Refs == 0 {
			c.problem("content", "content %d is noted with %d holders and has %d", id, rec.Refs, c.holders[id])
		}
		delete(c.holders, id)
		return nil
	})
	for id, n := range c.holders {
		c.problem("content", "content %d is marked as shared, has %d holders, and nothing counts them", id, n)
	}
	return err
}
