package s3api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Rules let go what they are about once it is due, and nothing else.
func TestLifecycle(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	for _, key := range []string{"tmp/a", "tmp/b", "keep/a", "tagged/x", "tagged/y", "big/small", "big/large"} {
		body := "x"
		if key == "big/large" {
			body = "a long body"
		}
		h := http.Header{}
		if key == "tagged/x" {
			h.Set("X-Amz-Tagging", "age=old")
		}
		w.want(200, http.MethodPut, "/bucket/"+key, body, h)
	}
	w.want(200, http.MethodPost, "/bucket/tmp/up?uploads", "", nil)
	w.want(200, http.MethodPost, "/bucket/keep/up?uploads", "", nil)
	w.want(200, http.MethodPut, "/bucket?lifecycle", `<LifecycleConfiguration>
		<Rule><Filter><Prefix>tmp/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>2</Days></Expiration><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>
		<Rule><Filter><Tag><Key>age</Key><Value>old</Value></Tag></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule>
		<Rule><Filter><And><Prefix>big/</Prefix><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan></And></Filter><Status>Enabled</Status><Expiration><Date>2020-01-01T00:00:00Z</Date></Expiration></Rule>
		<Rule><Prefix>keep/</Prefix><Status>Disabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>`, nil)
	left := func(after time.Duration) string {
		w.clock.Store(int64(after))
		_, err := w.door.Expire(t.Context(), 24*time.Hour)
		require.NoError(t, err)
		w.clock.Store(0)
		return w.want(200, http.MethodGet, "/bucket?list-type=2", "", nil) + w.want(200, http.MethodGet, "/bucket?uploads", "", nil)
	}
	text := left(0)
	require.NotContains(t, text, "<Key>big/large</Key>", "its date is past")
	for _, key := range []string{"tmp/a", "tmp/b", "keep/a", "tagged/x", "tagged/y", "big/small", "tmp/up", "keep/up"} {
		require.Contains(t, text, "<Key>"+key+"</Key>")
	}
	text = left(4 * 24 * time.Hour)
	for _, key := range []string{"tmp/a", "tmp/b", "tagged/x", "tmp/up"} {
		require.NotContains(t, text, "<Key>"+key+"</Key>")
	}
	for _, key := range []string{"keep/a", "tagged/y", "big/small", "keep/up"} {
		require.Contains(t, text, "<Key>"+key+"</Key>")
	}
}

// An upload that no rule is about goes by the daemon's own limit; a rule that waits longer keeps its own.
func TestStaleUploads(t *testing.T) {
	w := newBucket(t)
	w.want(200, "PUT", "/without", "", nil)
	w.want(200, "PUT", "/bucket?lifecycle", `<LifecycleConfiguration><Rule><Filter><Prefix>long/</Prefix></Filter><Status>Enabled</Status>`+
		`<AbortIncompleteMultipartUpload><DaysAfterInitiation>90</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>`, nil)
	w.createUpload("/bucket/long/k", nil)
	w.createUpload("/bucket/other", nil)
	w.createUpload("/without/k", nil)
	for _, c := range []struct {
		days          int
		bucket, other int // uploads left
	}{{29, 2, 1}, {31, 1, 0}, {91, 0, 0}} {
		w.clock.Store(int64(time.Duration(c.days) * 24 * time.Hour))
		_, err := w.door.Expire(t.Context(), 24*time.Hour)
		require.NoError(t, err)
		w.clock.Store(0)
		require.Equal(t, c.bucket, strings.Count(w.want(200, "GET", "/bucket?uploads", "", nil), "<Upload>"), "after %d days", c.days)
		require.Equal(t, c.other, strings.Count(w.want(200, "GET", "/without?uploads", "", nil), "<Upload>"), "after %d days", c.days)
	}
}
