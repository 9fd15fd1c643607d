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

// Expire applies the lifecycle rules of every bucket once: objects that are due are deleted as their owner would
// delete them, so never against a hold, and uploads that nobody finished are aborted. day is the length of a
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
			e := expiry{ctx: ctx, view: view, bucket: b.Name, now: s.o.Now(), day: day}
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
	rules  []lifecycle.Rule
	gone   int
}

func (e *expiry) run() error {
	_, front, err := e.view.BucketFront(e.ctx, e.bucket, settingLifecycle)
	raw, ok := front[settingLifecycle]
	if err != nil || !ok {
		return err
	}
	var doc lifecycle.Config
	if err := xml.Unmarshal(raw, &doc); err != nil {
		return err
	}
	e.rules = doc.Rules
	return errors.Join(e.objects(), e.uploads())
}

func (e *expiry) objects() error {
	var errs []error
	for after := ""; ; {
		page, err := e.view.ListObjects(e.ctx, e.bucket, namespace.ListOptions{After: after, Max: maxKeys})
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		for i := range page.Objects {
			if err := e.object(&page.Objects[i]); err != nil && len(errs) < 10 {
				errs = append(errs, err)
			}
		}
		if after = page.Next; !page.Truncated {
			return errors.Join(errs...)
		}
	}
}

// object deletes an object that a rule lets go, if it is still the one that was listed.
func (e *expiry) object(info *namespace.ObjectInfo) error {
	o := lifecycle.Object{Key: info.Key, Size: info.Size, Modified: info.LastModified, Tags: func() (map[string]string, error) {
		tags, _, err := e.view.ObjectTags(e.ctx, e.bucket, info.Key, "")
		named := map[string]string{}
		for _, t := range tags {
			named[t.Key] = t.Value
		}
		return named, err
	}}
	for i := range e.rules {
		r := &e.rules[i]
		at, ok := r.Expires(&o, e.day)
		if !ok || at.After(e.now) {
			continue
		}
		if matches, err := r.Matches(&o); err != nil || !matches {
			if err != nil {
				return err
			}
			continue
		}
		done, err := e.view.DeleteObject(e.ctx, e.bucket, info.Key,
			namespace.DeleteOptions{Conditions: namespace.Conditions{IfMatch: []string{info.ETag}, LastModified: info.LastModified}})
		var failed *namespace.Error
		if errors.As(err, &failed) && (failed.Kind == namespace.PreconditionFailed || failed.Kind == namespace.NotFound) {
			return nil // written anew meanwhile
		}
		if err == nil && done.Found {
			e.gone++
		}
		return err
	}
	return nil
}

func (e *expiry) uploads() error {
	for key, id := "", ""; ; {
		page, err := e.view.ListUploads(e.ctx, e.bucket, "", "", key, id, maxKeys)
		if err != nil {
			return err
		}
		for _, u := range page.Uploads {
			for i := range e.rules {
				r := &e.rules[i]
				if at, ok := r.GivesUp(u.Key, u.Initiated, e.day); !ok || at.After(e.now) {
					continue
				}
				if err := e.view.AbortUpload(e.ctx, e.bucket, u.Key, u.ID); err != nil {
					return err
				}
				e.gone++
				break
			}
		}
		if key, id = page.NextKey, page.NextUploadID; !page.Truncated {
			return nil
		}
	}
}
