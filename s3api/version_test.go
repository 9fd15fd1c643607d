package s3api

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const versioningOn = `<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`

// versions shows what ListObjectVersions does: for each entry its kind, key, and '*' if it is the latest.
func (w *world) versions(bucket string) string {
	text := w.want(200, http.MethodGet, "/"+bucket+"?versions", "", nil)
	var all []string
	for _, m := range regexp.MustCompile(`<(Version|DeleteMarker)><Key>([^<]*)</Key>.*?<IsLatest>(\w+)</IsLatest>`).FindAllStringSubmatch(text, -1) {
		s := strings.ToLower(m[1][:1]) + " " + m[2]
		if m[3] == "true" {
			s += "*"
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

func TestVersioning(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	require.NotContains(t, w.want(200, http.MethodGet, "/bucket?versioning", "", nil), "Status")
	require.Empty(t, w.send(http.MethodPut, "/bucket/k", "zero", nil).Header.Get(versionHeader))
	for _, bad := range []string{"<x/>", `<VersioningConfiguration><Status>On</Status></VersioningConfiguration>`, `<VersioningConfiguration/>`} {
		w.want(400, http.MethodPut, "/bucket?versioning", bad, nil)
	}
	w.want(501, http.MethodPut, "/bucket?versioning", `<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>`, nil)
	w.want(200, http.MethodPut, "/bucket?versioning", versioningOn, nil)
	require.Contains(t, w.want(200, http.MethodGet, "/bucket?versioning", "", nil), "<Status>Enabled</Status>")

	id := w.send(http.MethodPut, "/bucket/k", "one", nil).Header.Get(versionHeader)
	require.NotEmpty(t, id)
	other := id[:len(id)-1] + "0"
	if other == id {
		other = id[:len(id)-1] + "1"
	}
	require.Equal(t, "v k*, v k", w.versions("bucket"))
	require.Equal(t, "zero", w.want(200, http.MethodGet, "/bucket/k?versionId=null", "", nil))
	require.Equal(t, "one", w.want(200, http.MethodGet, "/bucket/k?versionId="+id, "", nil))
	require.Contains(t, w.want(404, http.MethodGet, "/bucket/k?versionId="+other, "", nil), "NoSuchVersion")
	w.want(400, http.MethodGet, "/bucket/k?versionId=x", "", nil)
	w.want(400, http.MethodGet, "/bucket/k?versionId=", "", nil)

	res := w.send(http.MethodDelete, "/bucket/k", "", nil)
	marker := res.Header.Get(versionHeader)
	require.Equal(t, "true", res.Header.Get(markerHeader))
	res = w.send(http.MethodGet, "/bucket/k", "", nil)
	require.Equal(t, 404, res.StatusCode)
	require.Equal(t, []string{"true", marker}, []string{res.Header.Get(markerHeader), res.Header.Get(versionHeader)})
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		res = w.send(method, "/bucket/k?versionId="+marker, "", nil)
		require.Equal(t, 405, res.StatusCode)
		require.Equal(t, []string{"true", "DELETE"}, []string{res.Header.Get(markerHeader), res.Header.Get("Allow")})
		require.NotEmpty(t, res.Header.Get("Last-Modified"))
	}
	res = w.send(http.MethodPut, "/bucket/copy", "", http.Header{copySource: {"/bucket/k?versionId=null"}})
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, "null", res.Header.Get(copyOfHeader))
	require.Equal(t, "zero", w.want(200, http.MethodGet, "/bucket/copy", "", nil))
	w.want(404, http.MethodPut, "/bucket/copy", "", http.Header{copySource: {"/bucket/k"}})

	w.want(200, http.MethodPut, "/bucket/k?tagging&versionId=null", `<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>`, nil)
	require.Contains(t, w.want(200, http.MethodGet, "/bucket/k?tagging&versionId=null", "", nil), "<Key>a</Key>")
	require.NotContains(t, w.want(200, http.MethodGet, "/bucket/k?tagging&versionId="+id, "", nil), "<Key>a</Key>")

	text := w.want(200, http.MethodPost, "/bucket?delete", "<Delete><Object><Key>k</Key><VersionId>"+marker+"</VersionId></Object><Object><Key>copy</Key></Object></Delete>", nil)
	require.Contains(t, text, "<Deleted><Key>k</Key><VersionId>"+marker+"</VersionId><DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>"+marker+"</DeleteMarkerVersionId></Deleted>")
	require.Contains(t, text, "<Deleted><Key>copy</Key><DeleteMarker>true</DeleteMarker>")
	require.Equal(t, "one", w.want(200, http.MethodGet, "/bucket/k", "", nil))
	require.Contains(t, w.want(409, http.MethodDelete, "/bucket", "", nil), "BucketNotEmpty")
}

// Rules remove noncurrent versions, and delete markers under which nothing is left.
func TestLifecycleOfVersions(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket?versioning", versioningOn, nil)
	for range 4 {
		w.want(200, http.MethodPut, "/bucket/keep", "x", nil)
		w.want(200, http.MethodPut, "/bucket/other", "x", nil)
	}
	w.want(200, http.MethodPut, "/bucket/gone", "x", nil)
	w.want(204, http.MethodDelete, "/bucket/gone", "", nil)
	expire := func(after time.Duration) string {
		w.clock.Store(int64(after))
		_, err := w.door.Expire(t.Context(), 24*time.Hour)
		w.clock.Store(0)
		require.NoError(t, err)
		return w.versions("bucket")
	}
	w.want(200, http.MethodPut, "/bucket?lifecycle", `<LifecycleConfiguration>
		<Rule><Filter><Prefix>keep</Prefix></Filter><Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays><NewerNoncurrentVersions>1</NewerNoncurrentVersions></NoncurrentVersionExpiration></Rule>
		<Rule><Filter><Prefix>gone</Prefix></Filter><Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays></NoncurrentVersionExpiration></Rule>
		<Rule><Filter/><Status>Enabled</Status><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration></Rule></LifecycleConfiguration>`, nil)
	all := "d gone*, v gone, v keep*, v keep, v keep, v keep, v other*, v other, v other, v other"
	require.Equal(t, all, expire(0))
	require.Equal(t, "d gone*, v keep*, v keep, v other*, v other, v other, v other", expire(4*24*time.Hour))
	require.Equal(t, "v keep*, v keep, v other*, v other, v other, v other", expire(4*24*time.Hour))

	w.want(200, http.MethodPut, "/bucket?lifecycle", `<LifecycleConfiguration>
		<Rule><Filter><Prefix>keep</Prefix></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>`, nil)
	require.Equal(t, "d keep*, v keep, v keep, v other*, v other, v other, v other", expire(4*24*time.Hour))
	require.Equal(t, "d keep*, v keep, v keep, v other*, v other, v other, v other", expire(4*24*time.Hour))
}

// answered is an answer without its body.
type answered struct {
	StatusCode int
	Header     http.Header
}

func (w *world) send(method, pathAndQuery, body string, header http.Header) answered {
	status, _, h := w.do(method, pathAndQuery, body, header)
	return answered{status, h}
}
