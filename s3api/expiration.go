package s3api

import (
	"net/http"
	"net/url"
	"time"

	"k3fs/namespace"
	"k3fs/s3api/internal/lifecycle"
)

// calendarDay is the day in which clients are told dates, whatever length the daemon's lifecycle days have.
const calendarDay = 24 * time.Hour

// lifecycleRules are those of the request's bucket.
func (q *request) lifecycleRules() []lifecycle.Rule {
	_, s, err := q.view.BucketFront(q.ctx(), q.bucket, settingLifecycle)
	if err != nil || len(s[settingLifecycle]) == 0 {
		return nil
	}
	doc, err := q.s.lifecycles.get(s[settingLifecycle])
	if err != nil {
		return nil
	}
	return doc.Rules
}

// tellExpiration sets the header that says when which rule lets the object go, if one does (x-amz-expiration).
func (q *request) tellExpiration(info *namespace.ObjectInfo) {
	if q.query.Has("versionId") {
		return // rules about days are about the current version
	}
	o := lifecycle.Object{Key: q.key, Size: info.Size, Modified: info.LastModified, Tags: func() (map[string]string, error) {
		named := map[string]string{}
		for _, t := range info.Tags {
			named[t.Key] = t.Value
		}
		return named, nil
	}}
	var first time.Time
	var by string
	rules := q.lifecycleRules()
	for i := range rules {
		at, ok := rules[i].Expires(&o, calendarDay)
		if !ok || !first.IsZero() && !at.Before(first) {
			continue
		}
		if matches, err := rules[i].Matches(&o); err == nil && matches {
			first, by = at, rules[i].ID
		}
	}
	if !first.IsZero() {
		q.w.Header().Set("X-Amz-Expiration", `expiry-date="`+first.UTC().Format(http.TimeFormat)+`", rule-id="`+url.QueryEscape(by)+`"`)
	}
}

// tellAbort sets the headers that say when which rule gives an unfinished upload up.
func (q *request) tellAbort(u *namespace.Upload) {
	var first time.Time
	rules := q.lifecycleRules()
	for i := range rules {
		at, ok := rules[i].GivesUp(u.Key, u.Initiated, calendarDay)
		if ok && (first.IsZero() || at.Before(first)) {
			first = at
			q.w.Header().Set("X-Amz-Abort-Date", at.UTC().Format(http.TimeFormat))
			q.w.Header().Set("X-Amz-Abort-Rule-Id", url.QueryEscape(rules[i].ID))
		}
	}
}
