// Package lifecycle is the lifecycle configuration of a bucket: it reads and checks one, and says when an object,
// a noncurrent version or an unfinished upload is due. It is pure; the length of a day comes with the question.
//
// Source: "Lifecycle configuration elements" in the S3 user guide.
package lifecycle

import (
	"crypto/rand"
	"encoding/xml"
	"math"
	"strings"
	"time"

	"k3fs/s3api/internal/s3err"
)

const maxRules = 1000

// Config is a bucket's configuration.
type Config struct {
	XMLName xml.Name `xml:"LifecycleConfiguration"`
	NS      string   `xml:"xmlns,attr,omitempty"`
	Rules   []Rule   `xml:"Rule"`
}

// Rule says what is to go when, of the objects that it is about.
type Rule struct {
	ID                   string      `xml:",omitempty"`
	Prefix               *string     // as rules had it before there were filters
	Filter               *Filter     `xml:",omitempty"`
	Status               string      // Enabled or Disabled
	Expiration           *Expiration `xml:",omitempty"`
	NoncurrentExpiration *Noncurrent `xml:"NoncurrentVersionExpiration"`
	AbortUploads         *struct {
		DaysAfterInitiation int
	} `xml:"AbortIncompleteMultipartUpload"`
	Transitions           []Transition `xml:"Transition,omitempty"`
	NoncurrentTransitions []struct{}   `xml:"NoncurrentVersionTransition,omitempty"`
}

// Filter chooses objects: by one thing, or by all of And.
type Filter struct {
	Prefix      *string
	Tag         *Tag
	GreaterThan *int64 `xml:"ObjectSizeGreaterThan"`
	LessThan    *int64 `xml:"ObjectSizeLessThan"`
	And         *struct {
		Prefix      *string
		Tags        []Tag  `xml:"Tag"`
		GreaterThan *int64 `xml:"ObjectSizeGreaterThan"`
		LessThan    *int64 `xml:"ObjectSizeLessThan"`
	}
}

// choices is how many things the filter names side by side. More than one is ambiguous, and what is not meant would go.
func (f *Filter) choices() (n int) {
	if f == nil {
		return 0
	}
	for _, is := range []bool{f.Prefix != nil && *f.Prefix != "", f.Tag != nil, f.GreaterThan != nil, f.LessThan != nil, f.And != nil} {
		if is {
			n++
		}
	}
	return n
}

// Tag is one that an object must have.
type Tag struct{ Key, Value string }

// Expiration says when a current object goes.
type Expiration struct {
	Days                      int    `xml:",omitempty"`
	Date                      string `xml:",omitempty"`
	ExpiredObjectDeleteMarker bool   `xml:",omitempty"`
}

// Transition would say when an object moves to another storage class.
type Transition struct {
	Days         int    `xml:",omitempty"`
	Date         string `xml:",omitempty"`
	StorageClass string
}

// Noncurrent says when a version goes that is not the current one.
type Noncurrent struct {
	NoncurrentDays          int
	NewerNoncurrentVersions int `xml:",omitempty"`
}

// Check says whether the configuration may be set, and gives rules without one an ID.
func (c *Config) Check() error {
	if len(c.Rules) == 0 || len(c.Rules) > maxRules {
		return malformed()
	}
	ids := map[string]bool{}
	for i := range c.Rules {
		r := &c.Rules[i]
		if r.ID == "" {
			r.ID = rand.Text()
		}
		if ids[r.ID] {
			return invalid("Rule ID must be unique. Found same ID for one or more rules")
		}
		ids[r.ID] = true
		if err := r.check(); err != nil {
			return err
		}
	}
	return nil
}

func malformed() error {
	return s3err.New("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}

func invalid(what string) error { return s3err.New(s3err.InvalidArgument, "%s", what) }

func (r *Rule) check() error {
	switch {
	case len(r.ID) > 255:
		return invalid("ID length should not exceed allowed limit of 255")
	case r.Status != "Enabled" && r.Status != "Disabled":
		return malformed()
	case r.Prefix != nil && r.Filter != nil, r.Prefix == nil && r.Filter == nil, r.Filter.choices() > 1:
		return malformed()
	case len(r.Transitions)+len(r.NoncurrentTransitions) > 0:
		for _, t := range r.Transitions {
			if err := checkDate(t.Date); err != nil {
				return err
			}
		}
		return s3err.New("NotImplemented", "There is one storage class, so nothing can move to another.")
	case r.Expiration == nil && r.NoncurrentExpiration == nil && r.AbortUploads == nil:
		return s3err.New(s3err.InvalidRequest, "At least one action needs to be specified in a rule.")
	case r.NoncurrentExpiration != nil && (r.NoncurrentExpiration.NoncurrentDays < 1 || r.NoncurrentExpiration.NewerNoncurrentVersions < 0):
		return invalid("'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer")
	case r.AbortUploads != nil && r.AbortUploads.DaysAfterInitiation < 1:
		return invalid("'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer")
	case r.AbortUploads != nil && len(r.tags()) > 0:
		return s3err.New(s3err.InvalidRequest, "AbortIncompleteMultipartUpload cannot be specified with Tags.")
	}
	if e := r.Expiration; e != nil {
		given := 0
		for _, is := range []bool{e.Days != 0, e.Date != "", e.ExpiredObjectDeleteMarker} {
			if is {
				given++
			}
		}
		switch {
		case e.Days < 0 || given == 0:
			return invalid("'Days' for Expiration action must be a positive integer")
		case given > 1:
			return malformed()
		case e.ExpiredObjectDeleteMarker && len(r.tags()) > 0:
			return s3err.New(s3err.InvalidRequest, "ExpiredObjectDeleteMarker cannot be specified with Tags.")
		}
		return checkDate(e.Date)
	}
	return nil
}

// checkDate checks the day of an action, if there is one.
func checkDate(date string) error {
	if date == "" {
		return nil
	}
	at, err := time.Parse(time.RFC3339, date)
	if err != nil {
		return malformed()
	}
	if !at.Equal(at.UTC().Truncate(24 * time.Hour)) {
		return invalid("'Date' must be at midnight GMT")
	}
	return nil
}

func (r *Rule) tags() []Tag {
	switch f := r.Filter; {
	case f == nil:
		return nil
	case f.Tag != nil:
		return []Tag{*f.Tag}
	case f.And != nil:
		return f.And.Tags
	}
	return nil
}

// KeyPrefix is what keys that the rule is about begin with.
func (r *Rule) KeyPrefix() string {
	switch f := r.Filter; {
	case r.Prefix != nil:
		return *r.Prefix
	case f.Prefix != nil:
		return *f.Prefix
	case f.And != nil && f.And.Prefix != nil:
		return *f.And.Prefix
	}
	return ""
}

// Object is what rules ask about an object.
type Object struct {
	Key      string
	Size     int64
	Modified time.Time
	// Tags are asked for only where a rule needs them.
	Tags func() (map[string]string, error)
}

// Matches reports whether the rule is enabled and about the object.
func (r *Rule) Matches(o *Object) (bool, error) {
	if r.Status != "Enabled" || !strings.HasPrefix(o.Key, r.KeyPrefix()) {
		return false, nil
	}
	if f := r.Filter; f != nil {
		above, below := f.GreaterThan, f.LessThan
		if f.And != nil {
			above, below = f.And.GreaterThan, f.And.LessThan
		}
		if above != nil && o.Size <= *above || below != nil && o.Size >= *below {
			return false, nil
		}
	}
	want := r.tags()
	if len(want) == 0 {
		return true, nil
	}
	has, err := o.Tags()
	if err != nil {
		return false, err
	}
	for _, t := range want {
		if v, ok := has[t.Key]; !ok || v != t.Value {
			return false, nil
		}
	}
	return true, nil
}

// never is later than anything that is due.
var never = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// Due is the day on which so many days are over since a time: S3 rounds up to the next midnight GMT. With days of
// another length than 24 hours, which tests use, it does not round.
func Due(since time.Time, days int, day time.Duration) time.Time {
	if int64(days) > int64(math.MaxInt64/day) { // S3 takes 2,147,483,647 days, a Duration holds 292 years
		return never
	}
	at := since.Add(time.Duration(days) * day)
	if day == 24*time.Hour {
		if midnight := at.UTC().Truncate(day); midnight.Before(at) {
			at = midnight.Add(day)
		}
	}
	return at
}

// Expires says when the rule lets a current object go; ok is false if it never does.
func (r *Rule) Expires(o *Object, day time.Duration) (at time.Time, ok bool) {
	switch e := r.Expiration; {
	case e == nil:
		return at, false
	case e.Days > 0:
		return Due(o.Modified, e.Days, day), true
	case e.Date != "":
		at, err := time.Parse(time.RFC3339, e.Date)
		return at, err == nil
	}
	return at, false
}

// ExpiresMarker says when the rule lets a delete marker go, o, under which nothing is left; ok is false if it never does.
func (r *Rule) ExpiresMarker(o *Object, day time.Duration) (at time.Time, ok bool) {
	if e := r.Expiration; e != nil && e.ExpiredObjectDeleteMarker {
		return o.Modified, true
	}
	return r.Expires(o, day)
}

// ExpiresNoncurrent says when the rule lets a version go that stopped being the current one at a time, and to which so
// many noncurrent ones are newer; ok is false if it never does as things are.
func (r *Rule) ExpiresNoncurrent(since time.Time, newer int, day time.Duration) (at time.Time, ok bool) {
	n := r.NoncurrentExpiration
	if n == nil || newer < n.NewerNoncurrentVersions {
		return at, false
	}
	return Due(since, n.NoncurrentDays, day), true
}

// GivesUp says when the rule lets an unfinished upload go; ok is false if it never does.
func (r *Rule) GivesUp(key string, initiated time.Time, day time.Duration) (at time.Time, ok bool) {
	if r.Status != "Enabled" || r.AbortUploads == nil || !strings.HasPrefix(key, r.KeyPrefix()) {
		return at, false
	}
	return Due(initiated, r.AbortUploads.DaysAfterInitiation, day), true
}
