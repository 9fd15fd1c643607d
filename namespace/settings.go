package namespace

import (
	"context"
	"maps"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// Settings of buckets: what their owners set on them, by name. The namespace keeps them and hands those that
// decide who may do what to the authority, inside each transaction; what the others mean is the doors' to say.
//
// fs.settings notes the buckets that may have any, so that the others cost nothing. A bucket is noted before
// the update that gives it its first setting commits, and its record is then read in every transaction: the
// conflict with one that changes it is found by the store.

// settingsOf reads what is set on a bucket; nil if nothing is. An update reads it once, for every rule asks for it.
func (fs *FS) settingsOf(r metastore.Reader, ino Ino) (tenancy.Settings, error) {
	if _, may := fs.settings.Load(ino); !may {
		return nil, nil
	}
	t, ok := r.(*txn)
	if !ok {
		return readSettings(r, ino)
	}
	if t.setRead && t.setOf == ino {
		return t.set, nil
	}
	err := t.readSet(ino)
	return t.set, err
}

// readSet reads what is set on a bucket, and whose it is.
func (t *txn) readSet(ino Ino) error {
	var rec bucketRec
	if _, err := getRec(t, bucketKey(ino), &rec); err != nil {
		return err
	}
	t.set, t.setOwner, t.setOf, t.setRead = rec.Settings, tenancy.TenantID(rec.Owner), ino, true
	return nil
}

func readSettings(r metastore.Reader, ino Ino) (tenancy.Settings, error) {
	var rec bucketRec
	if found, err := getRec(r, bucketKey(ino), &rec); err != nil || !found {
		return nil, err
	}
	return rec.Settings, nil
}

// noteSettings notes that a bucket may have settings from now on.
func (fs *FS) noteSettings(bucket Ino, s tenancy.Settings) {
	if len(s) > 0 {
		fs.settings.Store(bucket, nil)
	}
}

// loadSettings notes every bucket that has settings.
func (fs *FS) loadSettings(ctx context.Context) error {
	return fs.kv.View(ctx, func(r metastore.Reader) error {
		return r.Scan(prefixRange(key(kBucket), 0), func(k, value []byte) (bool, error) {
			var rec bucketRec
			if _, err := rec.UnmarshalMsg(value); err != nil {
				return false, err
			}
			fs.noteSettings(ino(k[len(kBucket):]), rec.Settings)
			return true, nil
		})
	})
}

// resource is what the authority is asked about: a key of the bucket, or the bucket itself.
func (b *bucketDir) resource(r metastore.Reader, objectKey string) tenancy.Resource {
	return b.versionResource(r, objectKey, "")
}

// versionResource is resource for a version; "" is the current one.
func (b *bucketDir) versionResource(r metastore.Reader, objectKey, version string) tenancy.Resource {
	res := tenancy.Resource{Owner: b.owner(), Bucket: b.name, Key: objectKey, Settings: b.settings}
	if objectKey != "" && b.settings != nil {
		res.Object = func() (tenancy.ObjectRules, error) {
			o, err := openVersion(r, b, objectKey, version)
			if err != nil {
				if isKind(err, NotFound) || isKind(err, NoVersion) || isKind(err, BadVersion) || isKind(err, IsMarker) {
					err = tenancy.ErrNoObject
				}
				return tenancy.ObjectRules{}, err
			}
			return o.rec.rules(), nil
		}
	}
	return res
}

// rules are what an object's record says about who may use it.
func (n *inodeRec) rules() tenancy.ObjectRules {
	if n.Object == nil {
		return tenancy.ObjectRules{}
	}
	rules := tenancy.ObjectRules{ACL: n.Object.ACL}
	for _, t := range n.Object.Tags {
		if rules.Tags == nil {
			rules.Tags = map[string]string{}
		}
		rules.Tags[t.Key] = t.Value
	}
	return rules
}

// BucketSettings describes a bucket, with what is set on it, to who may do a.
func (v *View) BucketSettings(ctx context.Context, bucket string, a tenancy.Action) (info BucketInfo, s tenancy.Settings, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		b, err := v.openBucket(r, bucket, a, "")
		if err != nil {
			return err
		}
		info, err = bucketInfo(r, b.ino)
		s = b.settings
		return err
	})
	return info, s, fail("bucket settings", bucket, err)
}

// ChangeBucketSettings lets change, which may run several times, alter what is set on a bucket, for who may do
// a. Its error ends the update. It is durable on return.
func (v *View) ChangeBucketSettings(ctx context.Context, bucket string, a tenancy.Action, change func(BucketInfo, tenancy.Settings) error) error {
	err := v.changeSettings(ctx, bucket, a, func(t *txn, b *bucketDir, s tenancy.Settings) error {
		info, err := bucketInfo(t, b.ino)
		if err != nil {
			return err
		}
		return change(info, s)
	})
	return fail("change bucket settings", bucket, err)
}

// changeSettings is ChangeBucketSettings for a change that needs the update. Once a bucket has Object Lock it keeps
// versions.
func (v *View) changeSettings(ctx context.Context, bucket string, a tenancy.Action, change func(*txn, *bucketDir, tenancy.Settings) error) error {
	ctx = context.WithoutCancel(ctx)
	if err := v.noteBucket(ctx, bucket, a); err != nil {
		return err
	}
	defer v.fs.rules.Add(1)
	return v.update(ctx, metastore.Durable, func(t *txn) error {
		b, err := v.openBucket(t, bucket, a, "")
		if err != nil {
			return err
		}
		var rec bucketRec
		found, err := getRec(t, bucketKey(b.ino), &rec)
		if err == nil && !found {
			err = of(Corrupt)
		}
		if err != nil {
			return err
		}
		s := tenancy.Settings(maps.Clone(rec.Settings))
		if s == nil {
			s = tenancy.Settings{}
		}
		_, locked := s[SettingObjectLock]
		if err := change(t, b, s); err != nil {
			return err
		}
		if _, still := s[SettingObjectLock]; locked && (!still || versioningOf(s) != enabled) {
			return of(NoVersioning)
		}
		rec.Settings = s
		return putRec(t, bucketKey(b.ino), &rec)
	})
}

// noteBucket notes a bucket that is to get its first setting, and waits for the updates that have not seen the note:
// none of them may still do without it what the setting forbids once that is acknowledged.
func (v *View) noteBucket(ctx context.Context, bucket string, a tenancy.Action) error {
	var ino Ino
	err := v.fs.kv.View(ctx, func(r metastore.Reader) error {
		b, err := v.openBucket(r, bucket, a, "")
		if err == nil {
			ino = b.ino
		}
		return err
	})
	if err != nil {
		return err
	}
	if _, noted := v.fs.settings.Load(ino); !noted {
		v.fs.holding.fence.Lock()
		defer v.fs.holding.fence.Unlock()
		v.fs.settings.Store(ino, nil)
	}
	return nil
}

// BucketFront returns what is set on a bucket under the names that a door needs before anybody is
// authenticated, to answer browsers (CORS, website), and whose it is; 0 if there is no bucket.
func (v *View) BucketFront(ctx context.Context, bucket string, names ...string) (owner tenancy.TenantID, front tenancy.Settings, err error) {
	front = tenancy.Settings{}
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		b, err := v.fs.anyBucket(r, bucket)
		if err != nil {
			return err
		}
		owner = b.owner()
		for _, name := range names {
			if value, ok := b.settings[name]; ok {
				front[name] = value
			}
		}
		return nil
	})
	if isKind(err, NoBucket) {
		err = nil
	}
	return owner, front, fail("bucket front", bucket, err)
}

// ObjectACL returns an object's access control list, encoded (nil if it has none of its own), and the bucket's
// settings and owner.
func (v *View) ObjectACL(ctx context.Context, bucket, objectKey, version string) (acl []byte, info BucketInfo, s tenancy.Settings, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		b, err := v.openVersionIn(r, bucket, versionAction(tenancy.GetObjectACL, version), objectKey, version)
		if err != nil {
			return err
		}
		o, err := openVersion(r, b, objectKey, version)
		if err != nil {
			return err
		}
		acl, s = o.rec.rules().ACL, b.settings
		info, err = bucketInfo(r, b.ino)
		return err
	})
	return acl, info, s, fail("get object acl", objectKey, err)
}

// SetObjectACL lets change, which may run several times, make an object's new access control list from the old
// one. Its error ends the update. It is durable on return.
func (v *View) SetObjectACL(ctx context.Context, bucket, objectKey, version string, change func(old []byte, info BucketInfo, s tenancy.Settings) ([]byte, error)) error {
	ctx = context.WithoutCancel(ctx)
	err := v.update(ctx, metastore.Durable, func(t *txn) error {
		action := versionAction(tenancy.PutObjectACL, version)
		b, err := v.openVersionIn(t, bucket, action, objectKey, version)
		if err != nil {
			return err
		}
		o, err := openVersion(t, b, objectKey, version)
		if err != nil {
			return err
		}
		if err := t.permit(o.ino, o.rec, actLabel); err != nil {
			return err
		}
		info, err := bucketInfo(t, b.ino)
		if err != nil {
			return err
		}
		acl, err := change(o.rec.rules().ACL, info, b.settings)
		if err != nil {
			return err
		}
		res := b.versionResource(t, objectKey, version)
		res.NewACL = acl
		if err := v.fs.auth.Allow(v.who, action, res); err != nil {
			return err
		}
		if o.rec.Object == nil {
			o.rec.Object = &objectRec{}
		}
		o.rec.Object.ACL = acl
		o.rec.Ctime = t.now
		t.attrChanged(o.ino, false)
		return t.putInode(o.ino, o.rec)
	})
	return fail("set object acl", objectKey, err)
}

// versionAction is the permission that does to a version what a does to an object.
func versionAction(a tenancy.Action, version string) tenancy.Action {
	if version == "" {
		return a
	}
	switch a {
	case tenancy.GetObject:
		return tenancy.GetObjectVersion
	case tenancy.DeleteObject:
		return tenancy.DeleteObjectVersion
	case tenancy.GetObjectACL:
		return tenancy.GetObjectVersionACL
	case tenancy.PutObjectACL:
		return tenancy.PutObjectVersionACL
	case tenancy.GetObjectTagging:
		return tenancy.GetObjectVersionTagging
	case tenancy.PutObjectTagging:
		return tenancy.PutObjectVersionTagging
	case tenancy.DeleteObjectTagging:
		return tenancy.DeleteObjectVersionTagging
	}
	return a
}

// allowRules asks for an inode of a bucket that has a policy, which may restrict even a root account.
func (v *View) allowRules(r metastore.Reader, a tenancy.Action, n *inodeRec, s tenancy.Settings) error {
	res := tenancy.Resource{Owner: tenancy.TenantID(n.Owner), Settings: s}
	var err error
	if res.Bucket, res.Key, err = keyOf(r, n); err != nil {
		return err
	}
	if res.Bucket == "" { // a file without a name has none to be denied by
		res.Settings = nil
	}
	res.Object = func() (tenancy.ObjectRules, error) { return n.rules(), nil }
	return v.fs.auth.Allow(v.who, a, res)
}
