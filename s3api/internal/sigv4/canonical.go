package sigv4

import (
	"crypto/sha256"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"k3fs/s3api/internal/s3err"
)

// param is one decoded query parameter, in the order of the request.
type param struct{ name, value string }

// parseQuery decodes a raw query exactly as net/url does for the handlers, but refuses what net/url would
// silently drop: a handler must not act on less than what was signed.
func parseQuery(raw string) ([]param, error) {
	if raw == "" {
		return nil, nil
	}
	var params []param
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		n, err1 := url.QueryUnescape(name)
		v, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil || strings.Contains(part, ";") {
			return nil, s3err.New(s3err.InvalidURI, "Couldn't parse the specified URI: the query is malformed.")
		}
		params = append(params, param{n, v})
	}
	return params, nil
}

// checkSignedHeaders requires every header that S3 acts upon to be signed, and every signed one to be there.
func checkSignedHeaders(r *http.Request, c *claim) error {
	for name := range r.Header {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "x-amz-") && !slices.Contains(c.signedHeaders, lower) {
			return s3err.New(s3err.AccessDenied, "There were headers present in the request which were not signed: %s", lower)
		}
	}
	for _, name := range c.signedHeaders {
		if len(headerValues(r, name)) == 0 {
			return mismatch()
		}
	}
	return nil
}

// headerValues returns the values of a signed header, including those that net/http moves out of the map.
func headerValues(r *http.Request, lower string) []string {
	if lower == "host" {
		return []string{r.Host}
	}
	if values := r.Header[textproto.CanonicalMIMEHeaderKey(lower)]; len(values) > 0 {
		return values
	}
	switch lower {
	case "content-length":
		if r.ContentLength >= 0 {
			return []string{strconv.FormatInt(r.ContentLength, 10)}
		}
	case "transfer-encoding":
		return r.TransferEncoding
	}
	return nil
}

// hoist sets the x-amz-* parameters of a proven, presigned query as headers, which is where SDKs take them
// from when they presign, and how S3 reads them: an object lock or metadata must not be lost on the way.
//
// Left out are the parameters of the signature itself, and the checksums that SDKs compute while they presign,
// of a body they do not have.
func hoist(r *http.Request, query []param) error {
	for _, p := range query {
		name := strings.ToLower(p.name)
		switch {
		case !strings.HasPrefix(name, "x-amz-"), strings.HasPrefix(name, "x-amz-checksum-"), strings.HasPrefix(name, "x-amz-sdk-"):
			continue
		case slices.ContainsFunc(presignNames, func(s string) bool { return strings.EqualFold(s, name) }):
			continue
		}
		key := textproto.CanonicalMIMEHeaderKey(name)
		if len(r.Header[key]) > 0 || !isToken(name) || strings.ContainsFunc(p.value, unicode.IsControl) {
			return s3err.New(s3err.InvalidArgument, "The query parameter %q cannot be taken as a header of this request.", name)
		}
		r.Header[key] = []string{strings.Trim(p.value, " \t")}
	}
	return nil
}

// canonical is the canonical request but for its URI, of which more than one form may have to be tried.
type canonical struct {
	method string
	rest   []byte // the query, headers, signed headers and payload hash
	buf    []byte
}

func newCanonical(r *http.Request, query []param, c *claim) *canonical {
	b := make([]byte, 0, 1024)
	b = appendQuery(b, query, c.mechanism == Presigned)
	b = append(b, '\n')
	for _, name := range c.signedHeaders {
		b = append(append(b, name...), ':')
		for i, value := range headerValues(r, name) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendCollapsed(b, value)
		}
		b = append(b, '\n')
	}
	b = append(b, '\n')
	for i, name := range c.signedHeaders {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, name...)
	}
	b = append(append(b, '\n'), c.payloadHash...)
	return &canonical{method: r.Method, rest: b}
}

// hash is the SHA-256 of the canonical request with the given URI.
func (c *canonical) hash(uri string) [32]byte {
	c.buf = append(append(append(append(c.buf[:0], c.method...), '\n'), uri...), '\n')
	c.buf = append(c.buf, c.rest...)
	return sha256.Sum256(c.buf)
}

// canonicalURIs returns the forms in which a client may have signed the path of r: decoded and encoded
// again by S3's rule (each byte that is not unreserved, '/' kept), and then as it was sent, for clients
// that sign what they send (a %2F, or reserved characters left alone). Nothing is normalised. Both forms
// decode to the very path that is served, so accepting either signs no other resource.
func canonicalURIs(r *http.Request) []string {
	strict := string(appendEscaped(make([]byte, 0, len(r.URL.Path)+16), r.URL.Path, false))
	if strict == "" {
		strict = "/"
	}
	if sent := r.URL.EscapedPath(); sent != strict && sent != "" {
		return []string{strict, sent}
	}
	return []string{strict}
}

// appendQuery appends the canonical query: encoded, then sorted by name and value.
func appendQuery(b []byte, query []param, presigned bool) []byte {
	encoded := make([]param, 0, len(query))
	for _, p := range query {
		if presigned && p.name == "X-Amz-Signature" {
			continue
		}
		encoded = append(encoded, param{escape(p.name), escape(p.value)})
	}
	slices.SortFunc(encoded, func(x, y param) int {
		if n := strings.Compare(x.name, y.name); n != 0 {
			return n
		}
		return strings.Compare(x.value, y.value)
	})
	for i, p := range encoded {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(append(append(b, p.name...), '='), p.value...)
	}
	return b
}

// escape is AWS's UriEncode for query parameters.
func escape(s string) string {
	for i := range len(s) {
		if !unreserved(s[i]) {
			return string(appendEscaped(make([]byte, 0, len(s)+16), s, true))
		}
	}
	return s
}

func appendEscaped(b []byte, s string, slash bool) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; unreserved(c) || c == '/' && !slash {
			b = append(b, c)
		} else {
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// appendCollapsed appends a header value, trimmed and with runs of blanks made one space.
func appendCollapsed(b []byte, s string) []byte {
	s = strings.Trim(s, " \t")
	for i := range len(s) {
		c := s[i]
		if c == '\t' {
			c = ' '
		}
		if c == ' ' && b[len(b)-1] == ' ' {
			continue
		}
		b = append(b, c)
	}
	return b
}
