package s3api

import (
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/namespace"
)

// Every kind of namespace error has an answer, and none of a client's making is the server's fault.
func TestEveryKindHasAnAnswer(t *testing.T) {
	server := map[namespace.Kind]bool{namespace.Internal: true, namespace.Corrupt: true, namespace.BadHandle: true,
		namespace.Unavailable: true, namespace.ReadOnly: true, namespace.NoSpace: true, namespace.Unsupported: true}
	for _, k := range namespace.Kinds() {
		a, ok := kindAnswers[k]
		require.True(t, ok, "%v has no answer", k)
		require.NotEmpty(t, a.code)
		require.NotEmpty(t, a.message)
		require.Equal(t, server[k], a.status >= 500, "%v answers %d", k, a.status)
		got, _ := translate(&namespace.Error{Op: "x", Kind: k})
		require.Equal(t, a, got)
	}
}

// Every route names a permission and its parameters, and is found by the request that it describes.
func TestEveryRouteIsFound(t *testing.T) {
	all := routes()
	x := indexRoutes(all)
	for _, r := range all {
		require.NotEmpty(t, r.action, r.name)
		require.NotNil(t, r.handle, r.name)
		q := requestFor(r)
		found, err := x.find(q)
		require.NoError(t, err, r.name)
		require.Equal(t, r.name, found.name)
	}
}

// requestFor makes a request that the route must match.
func requestFor(r route) *request {
	hr := httptest.NewRequest(r.method, "/", nil)
	q := &request{r: hr, query: url.Values{}}
	if r.level >= bucket {
		q.bucket = "bucket"
	}
	if r.level == object {
		q.key = "key"
	}
	for _, name := range indexRoutes([]route{r}).routes[r.method+string('0'+rune(r.level))][0].sub {
		q.query.Set(name, map[string]string{"list-type": "2", "partNumber": "1", "uploadId": "x"}[name])
	}
	if r.header != "" {
		hr.Header.Set(r.header, "/b/k")
	}
	return q
}

// A sub-resource that is not in the table never falls through to a plain operation.
func TestUnknownSubresourcesAreRefused(t *testing.T) {
	x := indexRoutes(routes())
	known := map[string]bool{}
	for _, r := range routes() {
		for _, name := range strings.Fields(r.sub + " " + r.params) {
			known[r.method+[]string{"service", "bucket", "object"}[r.level]+name] = true
		}
	}
	levelOf := func(path [2]string) string {
		switch {
		case path[0] == "":
			return "service"
		case path[1] == "":
			return "bucket"
		}
		return "object"
	}
	subs := []string{"acl", "policy", "tagging", "versionId", "legal-hold", "retention", "object-lock", "lifecycle",
		"torrent", "select", "restore", "website", "never-heard-of", "renameObject", "append", "uploads2"}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete} {
		for _, path := range [][2]string{{"", ""}, {"bucket", ""}, {"bucket", "key"}} {
			for _, sub := range subs {
				for _, value := range []string{"", "1"} {
					if value != "" && (sub == "never-heard-of" || sub == "uploads2") && (method == http.MethodGet || method == http.MethodHead) {
						continue // an unknown parameter with a value on a read is ignored, as on AWS
					}
					if known[method+levelOf(path)+sub] {
						continue // it is in the table
					}
					q := &request{r: httptest.NewRequest(method, "/", nil), bucket: path[0], key: path[1], query: url.Values{sub: {value}}}
					_, err := x.find(q)
					require.Error(t, err, "%s %v ?%s=%s", method, path, sub, value)
					a, _ := translate(err)
					require.Equal(t, http.StatusNotImplemented, a.status)
				}
			}
		}
	}
}

// The hand-made XML says the same as encoding/xml.
func TestXMLWriterEscapes(t *testing.T) {
	for _, s := range []string{"", "plain", "a&b<c>\"'", "ü\u2028", "tab\tnl\n", "bad\xff", "\x01", "a/b c"} {
		var w xmlWriter
		w.text("K", s)
		type doc struct {
			XMLName xml.Name `xml:"K"`
			V       string   `xml:",chardata"`
		}
		want, err := xml.Marshal(doc{V: s})
		require.NoError(t, err)
		var a, b doc
		require.NoError(t, xml.Unmarshal(want, &a))
		require.NoError(t, xml.Unmarshal(w.buf, &b), "%q", string(w.buf))
		require.Equal(t, a.V, b.V)
		back, err := url.QueryUnescape(string(appendURLEncoded(nil, s)))
		require.NoError(t, err)
		require.Equal(t, s, back)
	}
}

func TestChecksumTypes(t *testing.T) {
	for _, c := range []struct {
		alg, typ, want string
		ok             bool
	}{
		{"CRC32", "", "COMPOSITE", true}, {"CRC64NVME", "", "FULL_OBJECT", true}, {"SHA256", "", "COMPOSITE", true},
		{"CRC32C", "FULL_OBJECT", "FULL_OBJECT", true}, {"SHA1", "FULL_OBJECT", "", false},
		{"CRC64NVME", "COMPOSITE", "", false}, {"CRC32", "HALF", "", false},
	} {
		_, got, err := checksumType(c.alg, c.typ)
		require.Equal(t, c.ok, err == nil, "%v", c)
		require.Equal(t, c.want, got)
	}
}
