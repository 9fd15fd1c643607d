package cors

import (
	"encoding/xml"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func config(t *testing.T, rules string) *Config {
	t.Helper()
	var c Config
	require.NoError(t, xml.Unmarshal([]byte("<CORSConfiguration>"+rules+"</CORSConfiguration>"), &c))
	return &c
}

func TestFindAndAnswer(t *testing.T) {
	c := config(t, `<CORSRule><AllowedOrigin>https://app.example.com</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod>
		<AllowedHeader>x-amz-*</AllowedHeader><AllowedHeader>Content-Type</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule>
		<CORSRule><AllowedOrigin>https://*.example.com</AllowedOrigin><AllowedMethod>HEAD</AllowedMethod></CORSRule>
		<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>DELETE</AllowedMethod></CORSRule>`)
	require.NoError(t, c.Check())
	for _, x := range []struct {
		origin, method, headers string
		want                    string // Access-Control-Allow-Origin
		credentials             string
	}{
		{"https://app.example.com", "GET", "", "https://app.example.com", "true"},
		{"https://app.example.com", "PUT", "X-Amz-Date, content-type", "https://app.example.com", "true"},
		{"https://app.example.com", "PUT", "authorization", "", ""},
		{"https://app.example.com", "POST", "", "", ""},
		{"https://APP.example.com", "GET", "", "", ""},
		{"https://b.example.com", "HEAD", "", "https://b.example.com", ""},
		{"https://example.com.evil", "HEAD", "", "", ""},
		{"https://evil.org", "GET", "", "", ""},
		{"https://evil.org", "DELETE", "", "*", ""},
		{"null", "DELETE", "", "*", ""},
		{"", "DELETE", "", "", ""},
	} {
		headers := SplitHeaders(x.headers)
		r := c.Find(x.origin, x.method, headers)
		h := http.Header{}
		if r != nil {
			r.Answer(h, x.origin, headers, true)
		}
		require.Equal(t, x.want, h.Get("Access-Control-Allow-Origin"), "%+v", x)
		require.Equal(t, x.credentials, h.Get("Access-Control-Allow-Credentials"), "%+v", x)
	}
}

func TestCheck(t *testing.T) {
	for rules, ok := range map[string]bool{
		"": false, "<CORSRule/>": false,
		"<CORSRule><AllowedOrigin>*</AllowedOrigin></CORSRule>":                                                                 false,
		"<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>":                               true,
		"<CORSRule><AllowedOrigin>*.*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>":                             false,
		"<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>PATCH</AllowedMethod></CORSRule>":                             false,
		"<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><ExposeHeader>*</ExposeHeader></CORSRule>": false,
		strings.Repeat("<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>", 101):          false,
	} {
		require.Equal(t, ok, config(t, rules).Check() == nil, rules)
	}
}

// FuzzCORS: an origin is answered with credentials only where the configuration names it in full.
func FuzzCORS(f *testing.F) {
	f.Add("<CORSRule><AllowedOrigin>http*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedHeader>*</AllowedHeader></CORSRule>", "http://evil", "a,b")
	f.Fuzz(func(t *testing.T, rules, origin, headers string) {
		var c Config
		if xml.Unmarshal([]byte("<CORSConfiguration>"+rules+"</CORSConfiguration>"), &c) != nil || c.Check() != nil {
			return
		}
		asked := SplitHeaders(headers)
		r := c.Find(origin, "GET", asked)
		if r == nil {
			return
		}
		h := http.Header{}
		r.Answer(h, origin, asked, true)
		if h.Get("Access-Control-Allow-Credentials") != "" {
			require.Contains(t, r.AllowedOrigins, origin)
			require.NotContains(t, origin, "*")
		}
	})
}
