// Package header parses the request headers that S3 and HTTP share: Range, entity-tag conditions, HTTP
// dates and copy sources. Its functions are pure; what a value means for an object is decided by s3api.
package header

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"k3fs/s3api/internal/s3err"
)

// maxKey is the longest key that S3 knows, in bytes.
const maxKey = 1024

// Range is a part of an object in bytes. Length is above 0.
type Range struct{ Offset, Length int64 }

// RangeKind is what a Range header comes to for an object of a known size.
type RangeKind int

// The outcomes of ParseRange.
const (
	Whole         RangeKind = iota // no range, or one that is to be ignored: answer 200
	Partial                        // answer 206
	Unsatisfiable                  // answer 416
)

// ParseRange reads a Range header (RFC 9110, 14.2) for an object of size bytes. As S3 and the RFC do, it
// ignores what is malformed, another unit, or more than one range.
func ParseRange(value string, size int64) (Range, RangeKind) {
	unit, set, ok := strings.Cut(value, "=")
	if !ok || !strings.EqualFold(strings.Trim(unit, " \t"), "bytes") {
		return Range{}, Whole
	}
	first, last, ok := strings.Cut(strings.Trim(set, " \t"), "-")
	if !ok {
		return Range{}, Whole
	}
	if first == "" {
		n, ok := parseNumber(last)
		switch {
		case !ok:
			return Range{}, Whole
		case n == 0 || size == 0:
			return Range{}, Unsatisfiable
		}
		n = min(n, size)
		return Range{size - n, n}, Partial
	}
	from, ok := parseNumber(first)
	if !ok {
		return Range{}, Whole
	}
	to := size - 1
	if last != "" {
		if to, ok = parseNumber(last); !ok || to < from {
			return Range{}, Whole
		}
	}
	if from >= size {
		return Range{}, Unsatisfiable
	}
	return Range{from, min(to, size-1) - from + 1}, Partial
}

// parseNumber reads 1*DIGIT. What does not fit into an int64 is as good as the largest.
func parseNumber(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}

// ParseCopyRange reads x-amz-copy-source-range for a source of size bytes: "bytes=first-last" with both
// ends, inside the source. Unlike Range it is never ignored.
func ParseCopyRange(value string, size int64) (Range, error) {
	invalid := s3err.New(s3err.InvalidArgument, "The x-amz-copy-source-range value must be of the form "+
		"bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
	set, ok := strings.CutPrefix(strings.Trim(value, " \t"), "bytes=")
	if !ok {
		return Range{}, invalid
	}
	first, last, _ := strings.Cut(set, "-")
	from, ok1 := parseNumber(first)
	to, ok2 := parseNumber(last)
	if !ok1 || !ok2 || to < from {
		return Range{}, invalid
	}
	if to >= size {
		return Range{}, s3err.New(s3err.InvalidRange, "Range specified is not valid for source object of size: %d", size)
	}
	return Range{from, to - from + 1}, nil
}

// ETags is a list of entity tags as If-Match and If-None-Match carry it (RFC 9110, 13.1).
type ETags struct {
	any  bool
	tags []string // without quotes and W/
}

// ParseETags reads the values of If-Match or If-None-Match. Tags without quotes are taken, as S3 takes them.
// An empty list matches nothing.
func ParseETags(values []string) ETags {
	var e ETags
	rest := strings.Join(values, ",")
	for {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			return e
		}
		rest = strings.TrimPrefix(rest, "W/")
		var tag string
		if quoted, ok := strings.CutPrefix(rest, `"`); ok {
			tag, rest, _ = strings.Cut(quoted, `"`)
		} else {
			tag, rest, _ = strings.Cut(rest, ",")
			tag = strings.TrimRight(tag, " \t")
			e.any = e.any || tag == "*"
		}
		e.tags = append(e.tags, tag)
	}
}

// Any reports whether the list holds "*", which matches whatever exists.
func (e ETags) Any() bool { return e.any }

// Match reports whether an object that exists with this ETag (no quotes) is in the list.
func (e ETags) Match(etag string) bool {
	if e.any {
		return true
	}
	for _, t := range e.tags {
		if t == etag {
			return true
		}
	}
	return false
}

// List returns the tags without quotes; just "*" when it holds that.
func (e ETags) List() []string {
	if e.any {
		return []string{"*"}
	}
	return e.tags
}

// ParseTime reads an HTTP date (RFC 9110, 5.6.7) or, as S3 does, an ISO 8601 one. What is neither is not ok,
// and the condition it came in is to be ignored.
func ParseTime(value string) (t time.Time, ok bool) {
	value = strings.Trim(value, " \t")
	if t, err := http.ParseTime(value); err == nil {
		return t.UTC(), true
	}
	for _, layout := range []string{time.RFC3339, "20060102T150405Z"} {
		if t, err := time.Parse(layout, value); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// CopySource names the object that x-amz-copy-source refers to.
type CopySource struct {
	Bucket, Key string
	VersionID   string // empty for the current version
}

// ParseCopySource reads x-amz-copy-source: "[/]bucket/key[?versionId=id]", URL-encoded as in a query, where a '+' is a space (so on
// AWS, and by clients that encode with it); a raw '?' that does not begin ?versionId= belongs to the key.
func ParseCopySource(value string) (CopySource, error) {
	invalid := s3err.New(s3err.InvalidArgument, "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	path, version := value, ""
	if i := strings.LastIndex(value, "?versionId="); i >= 0 {
		path, version = value[:i], value[i+len("?versionId="):]
		if version == "" {
			return CopySource{}, s3err.New(s3err.InvalidArgument, "Version id cannot be the empty string")
		}
	}
	path, err := url.QueryUnescape(path)
	if err != nil {
		return CopySource{}, invalid
	}
	if version, err = url.QueryUnescape(version); err != nil {
		return CopySource{}, invalid
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if bucket == "" || key == "" || len(key) > maxKey || !utf8.ValidString(path) || !utf8.ValidString(version) {
		return CopySource{}, invalid
	}
	return CopySource{Bucket: bucket, Key: key, VersionID: version}, nil
}
