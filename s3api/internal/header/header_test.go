package header_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/s3api/internal/header"
	"k3fs/s3api/internal/s3err"
)

func TestParseRange(t *testing.T) {
	const huge = "99999999999999999999999"
	for _, c := range []struct {
		value string
		size  int64
		want  header.Range
		kind  header.RangeKind
	}{
		{"bytes=0-0", 10, header.Range{0, 1}, header.Partial},
		{"bytes=0-9", 10, header.Range{0, 10}, header.Partial},
		{"bytes=2-5", 10, header.Range{2, 4}, header.Partial},
		{"bytes=2-100", 10, header.Range{2, 8}, header.Partial},
		{"bytes=2-" + huge, 10, header.Range{2, 8}, header.Partial},
		{"bytes=9-", 10, header.Range{9, 1}, header.Partial},
		{"bytes=0-", 10, header.Range{0, 10}, header.Partial},
		{"bytes=-3", 10, header.Range{7, 3}, header.Partial},
		{"bytes=-30", 10, header.Range{0, 10}, header.Partial},
		{"bytes=-" + huge, 10, header.Range{0, 10}, header.Partial},
		{"Bytes = 1-2", 10, header.Range{1, 2}, header.Partial},
		{"bytes=10-", 10, header.Range{}, header.Unsatisfiable},
		{"bytes=10-20", 10, header.Range{}, header.Unsatisfiable},
		{"bytes=" + huge + "-", 10, header.Range{}, header.Unsatisfiable},
		{"bytes=-0", 10, header.Range{}, header.Unsatisfiable},
		{"bytes=0-", 0, header.Range{}, header.Unsatisfiable},
		{"bytes=-1", 0, header.Range{}, header.Unsatisfiable},
		{"", 10, header.Range{}, header.Whole},
		{"bytes", 10, header.Range{}, header.Whole},
		{"bytes=", 10, header.Range{}, header.Whole},
		{"bytes=-", 10, header.Range{}, header.Whole},
		{"bytes=5", 10, header.Range{}, header.Whole},
		{"bytes=5-2", 10, header.Range{}, header.Whole},
		{"bytes=a-b", 10, header.Range{}, header.Whole},
		{"bytes=+1-2", 10, header.Range{}, header.Whole},
		{"bytes=1--2", 10, header.Range{}, header.Whole},
		{"bytes=0-1,3-4", 10, header.Range{}, header.Whole},
		{"items=0-1", 10, header.Range{}, header.Whole},
	} {
		got, kind := header.ParseRange(c.value, c.size)
		require.Equal(t, c.kind, kind, c.value)
		require.Equal(t, c.want, got, c.value)
	}
}

func TestParseCopyRange(t *testing.T) {
	r, err := header.ParseCopyRange("bytes=2-9", 10)
	require.NoError(t, err)
	require.Equal(t, header.Range{Offset: 2, Length: 8}, r)
	for _, bad := range []string{"", "bytes=", "bytes=2-", "bytes=-2", "bytes=3-2", "bytes=0-10", "2-3", "bytes=0-1,2-3", "bytes=0x1-2"} {
		_, err := header.ParseCopyRange(bad, 10)
		var e *s3err.Error
		require.ErrorAs(t, err, &e, bad)
		require.Contains(t, []s3err.Code{s3err.InvalidArgument, s3err.InvalidRange}, e.Code)
	}
}

func TestETags(t *testing.T) {
	for _, c := range []struct {
		values []string
		etag   string
		match  bool
	}{
		{[]string{`"a"`}, "a", true},
		{[]string{`"a"`}, "b", false},
		{[]string{`"a", "b"`}, "b", true},
		{[]string{`"a"`, `W/"b"`}, "b", true},
		{[]string{`a`}, "a", true},
		{[]string{`a , b`}, "b", true},
		{[]string{`"a,b"`}, "a,b", true},
		{[]string{`"a,b"`}, "a", false},
		{[]string{`*`}, "whatever", true},
		{[]string{`"*"`}, "whatever", false},
		{[]string{`"unclosed`}, "unclosed", true},
		{[]string{``}, "", false},
		{[]string{` , ,`}, "a", false},
		{nil, "a", false},
	} {
		require.Equal(t, c.match, header.ParseETags(c.values).Match(c.etag), "%q %q", c.values, c.etag)
	}
	require.True(t, header.ParseETags([]string{" * "}).Any())
	require.False(t, header.ParseETags([]string{`"*"`}).Any())
}

func TestParseTime(t *testing.T) {
	want := time.Date(2013, 5, 24, 1, 2, 3, 0, time.UTC)
	for _, good := range []string{
		want.Format(http.TimeFormat), want.Format(time.RFC850), want.Format(time.ANSIC),
		"2013-05-24T01:02:03Z", "2013-05-24T03:02:03+02:00", "20130524T010203Z",
	} {
		got, ok := header.ParseTime(good)
		require.True(t, ok, good)
		require.Equal(t, want, got, good)
	}
	for _, bad := range []string{"", "yesterday", "1369357323", "Fri, 24 May 2013"} {
		_, ok := header.ParseTime(bad)
		require.False(t, ok, bad)
	}
}

func TestParseCopySource(t *testing.T) {
	for value, want := range map[string]header.CopySource{
		"bucket/key":                       {Bucket: "bucket", Key: "key"},
		"/bucket/key":                      {Bucket: "bucket", Key: "key"},
		"bucket//key":                      {Bucket: "bucket", Key: "/key"},
		"bucket/a//b/":                     {Bucket: "bucket", Key: "a//b/"},
		"bucket/../x":                      {Bucket: "bucket", Key: "../x"},
		"bucket/a%20b%2Fc%2B":              {Bucket: "bucket", Key: "a b/c+"},
		"bucket%2Fkey":                     {Bucket: "bucket", Key: "key"},
		"%2Fbucket%2Fkey":                  {Bucket: "bucket", Key: "key"},
		"bucket/a+b%2Bc":                   {Bucket: "bucket", Key: "a b+c"},
		"bucket/%C3%BC":                    {Bucket: "bucket", Key: "ü"},
		"bucket/ü":                         {Bucket: "bucket", Key: "ü"},
		"bucket/key?versionId=v1":          {Bucket: "bucket", Key: "key", VersionID: "v1"},
		"bucket/key?versionId=null":        {Bucket: "bucket", Key: "key", VersionID: "null"},
		"bucket/what?":                     {Bucket: "bucket", Key: "what?"},
		"bucket/key%3FversionId=v1":        {Bucket: "bucket", Key: "key?versionId=v1"},
		"bucket/k?versionId=a?versionId=b": {Bucket: "bucket", Key: "k?versionId=a", VersionID: "b"},
	} {
		got, err := header.ParseCopySource(value)
		require.NoError(t, err, value)
		require.Equal(t, want, got, value)
	}
	for _, bad := range []string{
		"", "/", "bucket", "bucket/", "/bucket", "//key", "bucket/%", "bucket/%zz", "bucket/key?versionId=",
		"bucket/%ff", "bucket/key?versionId=%", "bucket/" + strings.Repeat("a", 1025),
	} {
		_, err := header.ParseCopySource(bad)
		var e *s3err.Error
		require.ErrorAs(t, err, &e, bad)
		require.Equal(t, s3err.InvalidArgument, e.Code)
	}
}

func FuzzParseRange(f *testing.F) {
	f.Add("bytes=0-1", int64(10))
	f.Add("bytes=-9223372036854775808", int64(1))
	f.Fuzz(func(t *testing.T, value string, size int64) {
		if size < 0 {
			size = -(size + 1)
		}
		if r, kind := header.ParseRange(value, size); kind == header.Partial {
			require.True(t, r.Offset >= 0 && r.Length > 0 && r.Offset <= size-r.Length, "%+v", r)
		}
		if r, err := header.ParseCopyRange(value, size); err == nil {
			require.True(t, r.Offset >= 0 && r.Length > 0 && r.Offset <= size-r.Length, "%+v", r)
		}
	})
}

func FuzzParseCopySource(f *testing.F) {
	f.Add("bucket/key?versionId=v")
	f.Add("/b%2F%2F?versionId=")
	f.Fuzz(func(t *testing.T, value string) {
		s, err := header.ParseCopySource(value)
		if err != nil {
			return
		}
		encoded := s.Bucket + "/" + url.QueryEscape(s.Key)
		if s.VersionID != "" {
			encoded += "?versionId=" + url.QueryEscape(s.VersionID)
		}
		again, err := header.ParseCopySource(url.QueryEscape(s.Bucket) + encoded[len(s.Bucket):])
		require.NoError(t, err)
		require.Equal(t, s, again)
	})
}

func FuzzParseETags(f *testing.F) {
	f.Add(`"a", W/"b", c, *`, "a")
	f.Fuzz(func(t *testing.T, value, etag string) {
		e := header.ParseETags([]string{value})
		if e.Any() {
			require.True(t, e.Match(etag))
		}
		header.ParseTime(value)
	})
}
