package namespace

import (
	"context"
	"errors"
	"strings"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// VersionsOptions select a page of versions: by key, and for each key newest first.
type VersionsOptions struct {
	Prefix, Delimiter string
	KeyMarker         string // what follows this key, or prefix;
	VersionMarker     string // if set, this version of it
	Max               int    // entries (versions, delete markers and prefixes together) of a page
}

// VersionInfo describes a version, or a delete marker (of which it has key, version and time).
type VersionInfo struct {
	ObjectInfo
	Latest bool
	Marker bool
}

// VersionsPage is one page of a listing of versions.
type VersionsPage struct {
	Versions             []VersionInfo
	Prefixes             []string
	Truncated            bool
	NextKey, NextVersion string // the markers of the next page, when Truncated
}

// ListVersions implements Objects (S3 ListObjectVersions): it merges the walk of the current versions with the scan
// of what hangs on keys, each no longer than the page. What hangs above all else on a key without a current
// version is the latest only if it is a delete marker: a directory's rename takes current versions away and leaves
// none (docs/decisions/0021).
func (v *View) ListVersions(ctx context.Context, bucket string, o VersionsOptions) (VersionsPage, error) {
	var page VersionsPage
	err := v.fs.kv.View(ctx, func(r metastore.Reader) error {
		b, err := v.openBucket(r, bucket, tenancy.ListBucketVersions, o.Prefix)
		if err != nil {
			return err
		}
		l := versionLister{ctx: ctx, r: r, b: b, o: o}
		page = VersionsPage{}
		if o.Max <= 0 || len(o.Prefix) > maxKey {
			return nil
		}
		page, err = l.list()
		return err
	})
	return page, fail("list versions", bucket, err)
}

// versionLister makes a page.
type versionLister struct {
	ctx  context.Context
	r    metastore.Reader
	b    *bucketDir
	o    VersionsOptions
	page VersionsPage
}

// listedEntry is an entry of either stream.
type listedEntry struct {
	group bool // only Key is set, a common prefix
	VersionInfo
}

func (l *versionLister) list() (VersionsPage, error) {
	mark, err := l.marker()
	if err != nil {
		return l.page, err
	}
	live, err := l.live(mark)
	if err != nil {
		return l.page, err
	}
	current := map[string]string{l.o.KeyMarker: mark.current}
	for i := range live {
		current[live[i].Key] = live[i].Version
	}
	old, err := l.hanging(mark, current)
	if err != nil {
		return l.page, err
	}
	l.merge(live, old)
	return l.page, nil
}

// versionMark is where a page begins.
type versionMark struct {
	live string // the first key of which the current version may be shown
	hung []byte // the first record that may

	current string // id of the current version of the key that the page goes on with
}

// marker finds where the page begins: behind the version that the markers name, which may be gone since.
func (l *versionLister) marker() (m versionMark, err error) {
	k, id := l.o.KeyMarker, l.o.VersionMarker
	if k == "" {
		return versionMark{hung: key(kVersion, uint64(l.b.ino))}, nil
	}
	m.live = k + "\x00"
	if id == "" {
		return versionMark{live: m.live, hung: append(historyKey(l.b.ino, k)[:len(kVersion)+8+len(k)], 1)}, nil
	}
	m.hung = historyKey(l.b.ino, k)
	o, err := findObject(l.r, l.b, k)
	if err == nil && o.visible() {
		m.current = o.rec.versionID()
	}
	if err != nil || m.current == id {
		return m, err
	}
	seq, ok := parseVersionID(id)
	if id == nullVersion {
		if seq, ok, err = nullSeq(l.r, l.b.slot(k)); err != nil || !ok {
			return m, err
		}
	}
	if !ok {
		return m, of(BadVersion)
	}
	m.hung = append(versionKey(l.b.ino, k, seq), 0)
	return m, nil
}

// group is the common prefix that a key goes into; "" if none.
func (l *versionLister) group(objectKey string) string {
	if l.o.Delimiter == "" {
		return ""
	}
	i := strings.Index(objectKey[len(l.o.Prefix):], l.o.Delimiter)
	if i < 0 {
		return ""
	}
	return objectKey[:len(l.o.Prefix)+i+len(l.o.Delimiter)]
}

// live collects current versions, one more than fit the page.
func (l *versionLister) live(m versionMark) (all []listedEntry, err error) {
	w := walker{ctx: l.ctx, r: l.r, prefix: l.o.Prefix, from: m.live}
	w.ids = versioningOf(l.b.settings) != unversioned
	var failed error
	w.visit = func(objectKey string, ino Ino, rec *listed) (next string, more bool) {
		if group := l.group(objectKey); group != "" {
			next = string(prefixEnd([]byte(group)))
			if group > l.o.KeyMarker {
				all = append(all, groupEntry(group))
			}
			return next, next != "" && len(all) <= l.o.Max
		}
		if w.ids && isDirName(objectKey) && !rec.published { // as findVersion has it
			_, null, err := nullSeq(l.r, l.b.slot(objectKey))
			if failed = err; null || err != nil {
				return "", err == nil
			}
		}
		e := listedEntry{VersionInfo: VersionInfo{ObjectInfo: rec.info(objectKey, ino), Latest: true}}
		e.Version = shownID(rec.version)
		all = append(all, e)
		return "", len(all) <= l.o.Max
	}
	return all, errors.Join(w.walk(l.b.ino), failed)
}

func groupEntry(group string) listedEntry {
	e := listedEntry{group: true}
	e.Key = group
	return e
}

// hanging collects what hangs on keys, one more than fit the page. What is the current version, too, since a file came
// back to its key, is listed once.
func (l *versionLister) hanging(m versionMark, current map[string]string) (all []listedEntry, err error) {
	bucket := l.b.ino
	from := m.hung
	if first := append(key(kVersion, uint64(bucket)), l.o.Prefix...); string(from) < string(first) {
		from = first
	}
	last := ""
	if l.o.VersionMarker != "" { // the page before has begun with this key
		last = l.o.KeyMarker
	}
	err = eachHanging(l.r, bucket, from, l.o.Max+1, func(objectKey string, h *hanging) (next []byte, more bool, err error) {
		if !strings.HasPrefix(objectKey, l.o.Prefix) {
			return nil, false, nil
		}
		if group := l.group(objectKey); group != "" {
			if group > l.o.KeyMarker {
				all = append(all, groupEntry(group))
			}
			end := prefixEnd([]byte(group))
			if end == nil || len(all) > l.o.Max {
				return nil, false, nil
			}
			return append(key(kVersion, uint64(bucket)), end...), true, nil
		}
		if h.ID != "" && h.ID == current[objectKey] {
			return nil, true, nil
		}
		e, err := l.entry(objectKey, h)
		e.Latest = h.marker() && objectKey != last
		last = objectKey
		all = append(all, e)
		return nil, len(all) <= l.o.Max, err
	})
	return all, err
}

// entry describes what hangs on a key.
func (l *versionLister) entry(objectKey string, h *hanging) (e listedEntry, err error) {
	if h.marker() {
		e.Marker = true
		e.Key, e.LastModified = objectKey, stamp(h.Time)
	} else {
		w := walker{r: l.r}
		if err := w.read(Ino(h.Ino), h.Listed); err != nil {
			return e, err
		}
		e.ObjectInfo = w.rec.info(objectKey, Ino(h.Ino))
	}
	e.Version = shownID(h.ID)
	return e, nil
}

// merge fills the page from both streams. Of one key the current version comes first.
func (l *versionLister) merge(live, old []listedEntry) {
	p := &l.page
	n := 0
	current := ""
	var last *listedEntry
	for len(live)+len(old) > 0 {
		var e *listedEntry
		switch {
		case len(old) == 0 || len(live) > 0 && live[0].Key <= old[0].Key:
			e, live = &live[0], live[1:]
			if e.group && len(old) > 0 && old[0].group && old[0].Key == e.Key {
				old = old[1:]
			}
			current = e.Key
		default:
			e, old = &old[0], old[1:]
			if e.Key == current {
				e.Latest = false
			}
		}
		if n == l.o.Max {
			p.Truncated, p.NextKey, p.NextVersion = true, last.Key, last.Version
			return
		}
		n++
		last = e
		if e.group {
			p.Prefixes = append(p.Prefixes, e.Key)
		} else {
			p.Versions = append(p.Versions, e.VersionInfo)
		}
	}
}
