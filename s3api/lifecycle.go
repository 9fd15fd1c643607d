package s3api

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"time"

	"k3fs/namespace"
	"k3fs/s3api/internal/lifecycle"
	"k3fs/tenancy"
)

// checkLifecycle is PutBucketLifecycleConfiguration's document.
func checkLifecycle(_ *request, raw []byte) (any, error) {
	var doc lifecycle.Config
	if err := decodeXML(raw, &doc); err != nil {
		return nil, err
	}
	doc.XMLName, doc.NS = xml.Name{Local: "LifecycleConfiguration"}, xmlns
	return &doc, doc.Check()
}

// Expire applies the lifecycle rules of every bucket once: objects and versions that are due are deleted as their owner
// would delete them, so never against a lock or a hold, and uploads that nobody finished are aborted. day is the length of a
// lifecycle day. It returns how many of both went; what could not be deleted is tried again the next time.
func (s *Server) Expire(ctx context.Context, day time.Duration) (gone int, err error) {
	if s.o.Tenants == nil {
		return 0, nil
	}
	tenants, err := s.o.Tenants.Tenants(ctx)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, t := range tenants {
		if t.Status != tenancy.Active {
			continue
		}
		view := s.o.As(tenancy.Root(t.ID))
		buckets, err := view.ListBuckets(ctx)
		errs = append(errs, err)
		for _, b := range buckets {
			e := expiry{ctx: ctx, view: view, bucket: b.Name, now: s.o.Now(), day: day, stale: s.o.StaleUploads}
			if err := e.run(); err != nil {
				errs = append(errs, fmt.Errorf("lifecycle of bucket %s: %w", b.Name, err))
			}
			gone += e.gone
		}
	}
	return gone, errors.Join(errs...)
}

// expiry applies one bucket's rules.
type expiry struct {
	ctx    context.Context
	view   namespace.Objects
	bucket string
	now    time.Time
	day    time.Duration
	stale  time.Duration // after which an upload goes that no rule is about; 0: never
	rules  []lifecycle.Rule
	gone   int
}

func (e *expiry) run() error {
	_, front, err := e.view.BucketFront(e.ctx, e.bucket, settingLifecycle)
	raw, ok := front[settingLifecycle]
	if err != nil {
		return err
	}
	if !ok {
		if e.stale > 0 {
			return e.uploads()
		}
		return nil
	}
	var doc lifecycle.Config
	if err := xml.Unmarshal(raw, &doc); err != nil {
		return err
	}
	e.rules = doc.Rules
	return errors.Join(e.objects(), e.uploads())
}

// objects applies the rules to all versions of all keys, newest first.
func (e *expiry) objects() error {
	var errs []error
	o := namespace.VersionsOptions{Max: maxKeys}
	h := keyHistory{expiry: e}
	for {
		page, err := e.view.ListVersions(e.ctx, e.bucket, o)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		for i := range page.Versions {
			if err := h.next(&page.Versions[i]); err != nil && len(errs) < 10 {
				errs = append(errs, err)
			}
		}
		if o.KeyMarker, o.VersionMarker = page.NextKey, page.NextVersion; !page.Truncated {
			return errors.Join(append(errs, h.end())...)
		}
	}
}

// keyHistory follows the versions of one key after the other.
type keyHistory struct {
	*expiry
	last  namespace.VersionInfo  // the version before
	newer int                    // how many noncurrent ones came before
	alone *namespace.VersionInfo // a delete marker that is the latest, and nothing of its key came behind it yet
}

// next applies the rules to a version.
func (h *keyHistory) next(v *namespace.VersionInfo) error {
	defer func() { h.last = *v }()
	if v.Key != h.last.Key {
		err := h.end()
		h.newer = 0
		if v.Latest && v.Marker {
			h.alone = v
		}
		if !v.Latest { // nothing says since when: a directory's rename took the current version away
			h.newer++
		}
		if !v.Latest || v.Marker {
			return err
		}
		return errors.Join(err, h.object(&v.ObjectInfo))
	}
	h.alone = nil
	h.newer++
	return h.noncurrent(v, h.last.LastModified, h.newer-1)
}

// end removes a delete marker under which nothing is left.
func (h *keyHistory) end() error {
	v := h.alone
	if h.alone = nil; v == nil {
		return nil
	}
	o := h.subject(v)
	return h.apply(&o, func(r *lifecycle.Rule) (time.Time, bool) { return r.ExpiresMarker(&o, h.day) }, func() error {
		return h.remove(v)
	})
}

// noncurrent removes a version that stopped being the current one at a time, and to which so many noncurrent ones are
// newer.
func (h *keyHistory) noncurrent(v *namespace.VersionInfo, since time.Time, newer int) error {
	o := h.subject(v)
	return h.apply(&o, func(r *lifecycle.Rule) (time.Time, bool) { return r.ExpiresNoncurrent(since, newer, h.day) }, func() error {
		return h.remove(v)
	})
}

// subject is what the rules ask about a version.
func (e *expiry) subject(v *namespace.VersionInfo) lifecycle.Object {
	return lifecycle.Object{Key: v.Key, Size: v.Size, Modified: v.LastModified, Tags: func() (map[string]string, error) {
		if v.Marker {
			return nil, nil
		}
		tags, _, err := e.view.ObjectTags(e.ctx, e.bucket, v.Key, v.Version)
		named := map[string]string{}
		for _, t := range tags {
			named[t.Key] = t.Value
		}
		return named, err
	}}
}

// apply removes something if a rule says that it is due and is about it.
func (e *expiry) apply(o *lifecycle.Object, due func(*lifecycle.Rule) (time.Time, bool), remove func() error) error {
	for i := range e.rules {
		r := &e.rules[i]
		if at, ok := due(r); !ok || at.After(e.now) {
			continue
		}
		if matches, err := r.Matches(o); err != nil || !matches {
			if err != nil {
				return err
			}
			continue
		}
		return remove()
	}
	return nil
}

// object deletes the current version of a key that a rule lets go, if it is still the one that was listed: in a
// versioned bucket it becomes a noncurrent one.
func (e *expiry) object(info *namespace.ObjectInfo) error {
	o := e.subject(&namespace.VersionInfo{ObjectInfo: *info})
	return e.apply(&o, func(r *lifecycle.Rule) (time.Time, bool) { return r.Expires(&o, e.day) }, func() error {
		return e.delete(info.Key, namespace.DeleteOptions{Conditions: namespace.Conditions{IfMatch: []string{info.ETag}, LastModified: info.LastModified}})
	})
}

// remove removes a version for good.
func (e *expiry) remove(v *namespace.VersionInfo) error {
	return e.delete(v.Key, namespace.DeleteOptions{Version: v.Version})
}

// delete deletes what may go. What was written anew meanwhile, and what is locked, stays.
func (e *expiry) delete(key string, o namespace.DeleteOptions) error {
	done, err := e.view.DeleteObject(e.ctx, e.bucket, key, o)
	var failed *namespace.Error
	if errors.As(err, &failed) {
		switch failed.Kind {
		case namespace.PreconditionFailed, namespace.NotFound, namespace.NotPermitted:
			return nil
		}
	}
	if err == nil && done.Found {
		e.gone++
	}
	return err
}

func (e *expiry) uploads() error {
	for key, id := "", ""; ; {
		page, err := e.view.ListUploads(e.ctx, e.bucket, "", "", key, id, maxKeys)
		if err != nil {
			return err
		}
		for i := range page.Uploads {
			u := &page.Uploads[i]
			if !e.givenUp(u) {
				continue
			}
			if err := e.view.AbortUpload(e.ctx, e.bucket, u.Key, u.ID); err != nil {
				return err
			}
			e.gone++
		}
		if key, id = page.NextKey, page.NextUploadID; !page.Truncated {
			return nil
		}
	}
}

// givenUp reports whether an upload is due: by the first rule that is, or where none is about it by the daemon's own.
func (e *expiry) givenUp(u *namespace.Upload) bool {
	ruled := false
	for i := range e.rules {
		if at, ok := e.rules[i].GivesUp(u.Key, u.Initiated, e.day); ok {
			ruled = true
			if !at.After(e.now) {
				return true
			}
		}
	}
	return !ruled && e.stale > 0 && e.now.Sub(u.Initiated) >= e.stale
}
