package namespace

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"k3fs/chunkstore"
	"k3fs/metastore"
	"k3fs/tenancy"
)

// bucketDir is a bucket that the view may know of.
type bucketDir struct {
	name     string
	ino      Ino
	rec      *inodeRec
	settings tenancy.Settings // nil if nothing is set
}

func (b *bucketDir) owner() tenancy.TenantID   { return tenancy.TenantID(b.rec.Owner) }
func (b *bucketDir) domain() chunkstore.Domain { return domain(b.owner()) }

// findBucket finds a bucket. Another tenant's is NoBucket, as if it were not there, unless it is shared: then
// it is known, and what may be done with it is Allow's to say.
func (v *View) findBucket(r metastore.Reader, name string) (*bucketDir, error) {
	b, err := v.fs.anyBucket(r, name)
	if err == nil && b.owner() != v.who.Tenant && !b.settings.Shared() {
		err = of(NoBucket)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// anyBucket finds a bucket, whoever asks.
func (fs *FS) anyBucket(r metastore.Reader, name string) (*bucketDir, error) {
	if name == "" || strings.ContainsAny(name, "/\x00") || len(name) > maxName {
		return nil, of(NoBucket)
	}
	e, err := storedEntry(r, RootIno, name+"/")
	if err != nil {
		return nil, err
	}
	if !e.found() {
		return nil, of(NoBucket)
	}
	b := &bucketDir{name: name, ino: Ino(e.Ino)}
	if b.rec, err = getInode(r, b.ino); err != nil {
		return nil, err
	}
	if fs.erased(b.owner()) {
		return nil, of(NoBucket)
	}
	b.settings, err = fs.settingsOf(r, b.ino)
	return b, err
}

// openBucket finds a bucket and asks whether the view may do a to a key in it.
func (v *View) openBucket(r metastore.Reader, name string, a tenancy.Action, objectKey string) (*bucketDir, error) {
	b, err := v.findBucket(r, name)
	if err != nil {
		return nil, err
	}
	return b, v.allowKey(r, b, a, objectKey)
}

// openVersionIn is openBucket for a version of the key, whose own rules count; "" is the current one.
func (v *View) openVersionIn(r metastore.Reader, name string, a tenancy.Action, objectKey, version string) (*bucketDir, error) {
	b, err := v.findBucket(r, name)
	if err != nil {
		return nil, err
	}
	return b, v.fs.auth.Allow(v.who, a, b.versionResource(r, objectKey, version))
}

func (v *View) allowKey(r metastore.Reader, b *bucketDir, a tenancy.Action, objectKey string) error {
	return v.fs.auth.Allow(v.who, a, b.resource(r, objectKey))
}

// checkBucketName applies S3's rules for the names of general purpose buckets.
func checkBucketName(name string) error {
	if len(name) < 3 || len(name) > 63 {
		return of(InvalidBucketName)
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case (c == '-' || c == '.') && i > 0 && i < len(name)-1:
		default:
			return of(InvalidBucketName)
		}
	}
	if _, err := netip.ParseAddr(name); err == nil || strings.Contains(name, "..") || strings.Contains(name, ".-") || strings.Contains(name, "-.") {
		return of(InvalidBucketName)
	}
	for _, prefix := range []string{"xn--", "sthree-"} {
		if strings.HasPrefix(name, prefix) {
			return of(InvalidBucketName)
		}
	}
	for _, suffix := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3"} {
		if strings.HasSuffix(name, suffix) {
			return of(InvalidBucketName)
		}
	}
	return nil
}

// ListBuckets lists the tenant's buckets by name.
func (v *View) ListBuckets(ctx context.Context) ([]BucketInfo, error) {
	var all []BucketInfo
	err := v.fs.kv.View(ctx, func(r metastore.Reader) error {
		all = nil
		if err := v.fs.auth.Allow(v.who, tenancy.ListAllBuckets, tenancy.Resource{}); err != nil {
			return err
		}
		return r.Scan(prefixRange(dentryKey(RootIno, ""), 0), func(_, value []byte) (bool, error) {
			var d dentryRec
			if _, err := d.UnmarshalMsg(value); err != nil {
				return false, err
			}
			info, err := bucketInfo(r, Ino(d.Ino))
			if err == nil && info.Owner == v.who.Tenant {
				all = append(all, info)
			}
			return true, err
		})
	})
	return all, fail("list buckets", "", err)
}

func bucketInfo(r metastore.Reader, ino Ino) (BucketInfo, error) {
	var rec bucketRec
	found, err := getRec(r, bucketKey(ino), &rec)
	if err == nil && !found {
		err = of(Corrupt)
	}
	return BucketInfo{Name: rec.Name, Ino: ino, Owner: tenancy.TenantID(rec.Owner),
		Created: time.Unix(0, rec.Created), Region: rec.Region}, err
}

// HeadBucket describes a bucket.
func (v *View) HeadBucket(ctx context.Context, name string) (BucketInfo, error) {
	var info BucketInfo
	err := v.fs.kv.View(ctx, func(r metastore.Reader) error {
		b, err := v.openBucket(r, name, tenancy.ListBucket, "")
		if err != nil {
			return err
		}
		info, err = bucketInfo(r, b.ino)
		return err
	})
	return info, fail("head bucket", name, err)
}

// CreateBucket makes a bucket; "" is the store's own region. BucketOwned: the tenant has it already.
func (v *View) CreateBucket(ctx context.Context, name, region string) error {
	return v.CreateBucketWith(ctx, name, region, nil)
}

// CreateBucketWith is CreateBucket, with what is set on the bucket from the start.
func (v *View) CreateBucketWith(ctx context.Context, name, region string, s tenancy.Settings) error {
	_, err := v.makeBucket(ctx, metastore.Durable, name, region, nil, s)
	return fail("create bucket", name, err)
}

// mkBucketDir is mkdir in the root.
func (v *View) mkBucketDir(ctx context.Context, name string, n NewNode) (Attr, error) {
	a, err := v.makeBucket(ctx, metastore.Ordered, name, "", &n, nil)
	if isKind(err, BucketOwned) || isKind(err, BucketTaken) {
		err = of(Exists)
	}
	return a, err
}

// makeBucket makes a bucket whose directory is as n says; nil takes after the root.
func (v *View) makeBucket(ctx context.Context, d metastore.Durability, name, region string, n *NewNode, s tenancy.Settings) (a Attr, err error) {
	if err := checkBucketName(name); err != nil {
		return a, err
	}
	if region == "" {
		region = v.fs.region
	}
	err = v.update(ctx, d, func(t *txn) error {
		if err := v.fs.auth.Allow(v.who, tenancy.CreateBucket, tenancy.Resource{Bucket: name}); err != nil {
			return err
		}
		if err := tenancy.Acts(t, v.who.Tenant); err != nil {
			return err
		}
		if err := v.bucketNameFree(t, name); err != nil {
			return err
		}
		root, err := getInode(t, RootIno)
		if err != nil {
			return err
		}
		node := NewNode{Type: Dir, Mode: 0o755, UID: root.UID, GID: root.GID}
		if n != nil {
			node = *n
			node.Type = Dir
		}
		ino := Ino(t.fs.number())
		rec, err := t.attach(ino, RootIno, root, name, node)
		if err != nil {
			return err
		}
		rec.Bucket, rec.Owner = uint64(ino), uint64(v.who.Tenant)
		a = rec.attr(ino)
		if err := t.putInode(ino, rec); err != nil {
			return err
		}
		t.fs.noteSettings(ino, s)
		return putRec(t, bucketKey(ino), &bucketRec{Name: name, Region: region, Created: t.now, Owner: rec.Owner, Settings: s})
	})
	return a, err
}

func (v *View) bucketNameFree(r metastore.Reader, name string) error {
	e, err := storedEntry(r, RootIno, name+"/")
	if err != nil || !e.found() {
		return err
	}
	b, err := v.fs.anyBucket(r, name)
	if err != nil {
		return err
	}
	if b.owner() == v.who.Tenant {
		return of(BucketOwned)
	}
	return of(BucketTaken)
}

// DeleteBucket removes an empty bucket, and with it the multipart uploads that nobody finished.
func (v *View) DeleteBucket(ctx context.Context, name string) error {
	return fail("delete bucket", name, v.removeBucket(ctx, metastore.DurableReclaim, name))
}

// rmBucketDir is rmdir in the root.
func (v *View) rmBucketDir(ctx context.Context, name string) error {
	err := v.removeBucket(ctx, metastore.Reclaim, name)
	if isKind(err, NoBucket) {
		err = of(NotFound)
	}
	return err
}

func (v *View) removeBucket(ctx context.Context, d metastore.Durability, name string) error {
	for {
		uploads := 0
		err := v.update(ctx, d, func(t *txn) error {
			b, err := v.openBucket(t, name, tenancy.DeleteBucket, "")
			if err != nil {
				return err
			}
			if empty, err := dirEmpty(t, b.ino); err != nil || !empty {
				if err == nil {
					err = of(NotEmpty)
				}
				return err
			}
			if any, err := hasHistory(t, b.ino); err != nil || any {
				if err == nil {
					err = of(NotEmpty)
				}
				return err
			}
			if err := t.heldBucket(b); err != nil {
				return err
			}
			if uploads, err = t.abortUploads(b.ino, sweepBatch); err != nil || uploads > 0 {
				return err
			}
			return t.removeBucket(b)
		})
		if err != nil || uploads == 0 {
			return err
		}
	}
}

func (t *txn) removeBucket(b *bucketDir) error {
	root, err := getInode(t, RootIno)
	if err != nil {
		return err
	}
	e := entry{stored: b.name + "/", dentryRec: dentryRec{Ino: uint64(b.ino), Type: uint8(Dir)}}
	if err := t.removeDir(RootIno, root, e, b.rec); err != nil {
		return err
	}
	if err := errors.Join(t.dropHolds(b), t.dropQuotas(b), t.Delete(bucketKey(b.ino))); err != nil {
		return err
	}
	return t.touchDir(RootIno, root)
}
