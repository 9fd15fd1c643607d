package sigv4

import (
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"k3fs/s3api/internal/s3err"
)

const (
	dateHeader    = "X-Amz-Date"
	contentHeader = "X-Amz-Content-Sha256"
	tokenHeader   = "X-Amz-Security-Token"
)

// Bounds on what is parsed before it is authenticated. Access keys have 16 to 128 characters on AWS.
const (
	maxAccessKey     = 256
	maxScopePart     = 64
	maxSignedHeaders = 200
	maxToken         = 8 << 10
)

// headerClaim reads the claim of an Authorization header.
func (v *Verifier[P]) headerClaim(r *http.Request, body *[32]byte) (*claim, error) {
	c, err := parseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		return nil, err
	}
	malformed := func(format string, args ...any) *s3err.Error {
		return s3err.New(s3err.AuthorizationHeaderMalformed, "The authorization header is malformed; "+format, args...)
	}
	if c.token, err = sessionToken(r.Header[tokenHeader]); err != nil {
		return nil, err
	}
	if c.signedAt, err = requestTime(r.Header); err != nil {
		return nil, err
	}
	if err := v.checkScope(c, malformed); err != nil {
		return nil, err
	}
	if skew := v.now().Sub(c.signedAt); skew > v.maxSkew || skew < -v.maxSkew {
		return nil, s3err.New(s3err.RequestTimeTooSkewed, "The difference between the request time and the current time is too large.")
	}
	hash, present, err := single(r.Header, contentHeader)
	if err != nil {
		return nil, err
	}
	if !present && body != nil {
		hash, present = hex.EncodeToString(body[:]), true
	}
	if !present {
		return nil, s3err.New(s3err.InvalidRequest, "Missing required header for this request: x-amz-content-sha256")
	}
	c.payloadHash = hash
	c.payload, err = parsePayload(hash)
	return c, err
}

// parseAuthorization reads "AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=...".
func parseAuthorization(value string) (*claim, error) {
	malformed := func(format string, args ...any) *s3err.Error {
		return s3err.New(s3err.AuthorizationHeaderMalformed, "The authorization header is malformed; "+format, args...)
	}
	scheme, rest, _ := strings.Cut(strings.Trim(value, " \t"), " ")
	switch {
	case scheme == algorithm:
	case strings.HasPrefix(scheme, "AWS4-"):
		return nil, useV4()
	default:
		return nil, s3err.New(s3err.InvalidArgument, "Unsupported Authorization Type")
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.Trim(part, " \t"), "=")
		if _, twice := fields[name]; !ok || twice || len(fields) == 3 {
			return nil, malformed("it must hold Credential, SignedHeaders and Signature, each once.")
		}
		fields[name] = value
	}
	for _, name := range []string{"Credential", "SignedHeaders", "Signature"} {
		if fields[name] == "" {
			return nil, malformed("missing %s.", name)
		}
	}
	c := &claim{mechanism: Header}
	return c, c.parse(fields["Credential"], fields["SignedHeaders"], fields["Signature"], malformed)
}

// presignedClaim reads the claim of a presigned URL.
func (v *Verifier[P]) presignedClaim(r *http.Request, query []param) (*claim, error) {
	malformed := func(format string, args ...any) *s3err.Error {
		return s3err.New(s3err.AuthorizationQueryError, format, args...)
	}
	fields, err := presignFields(query)
	if err != nil {
		return nil, err
	}
	c := &claim{mechanism: Presigned}
	if err := c.parse(fields["X-Amz-Credential"], fields["X-Amz-SignedHeaders"], fields["X-Amz-Signature"], malformed); err != nil {
		return nil, err
	}
	tokens := r.Header[tokenHeader]
	if token, ok := fields["X-Amz-Security-Token"]; ok {
		tokens = append(slices.Clone(tokens), token)
	}
	if c.token, err = sessionToken(tokens); err != nil {
		return nil, err
	}
	if c.signedAt, err = time.Parse(timeFormat, fields["X-Amz-Date"]); err != nil {
		return nil, malformed(`X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`)
	}
	if err := v.checkScope(c, malformed); err != nil {
		return nil, err
	}
	expires, err := parseExpires(fields["X-Amz-Expires"])
	if err != nil {
		return nil, err
	}
	switch now := v.now(); {
	case c.signedAt.After(now.Add(v.maxSkew)):
		return nil, s3err.New(s3err.AccessDenied, "Request is not valid yet")
	case now.After(c.signedAt.Add(expires)):
		return nil, s3err.New(s3err.AccessDenied, "Request has expired")
	}
	return c, c.presignedPayload(r, fields)
}

// presignNames are the query parameters of a presigned URL, the required ones first.
var presignNames = []string{
	"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Expires",
	"X-Amz-Content-Sha256", "X-Amz-Security-Token",
}

const presignRequired = 6

// presignFields collects the X-Amz- parameters of a presigned URL. S3 writes them in exactly one way: a
// name in another case, or one that comes twice, is refused rather than ignored.
func presignFields(query []param) (map[string]string, error) {
	fields := map[string]string{}
	for _, p := range query {
		for _, name := range presignNames {
			if !strings.EqualFold(p.name, name) {
				continue
			}
			if _, twice := fields[name]; twice || p.name != name {
				return nil, s3err.New(s3err.AuthorizationQueryError, "The query parameter %s must be given once, in this spelling.", name)
			}
			fields[name] = p.value
		}
	}
	for _, name := range presignNames[:presignRequired] {
		if fields[name] == "" {
			return nil, s3err.New(s3err.AuthorizationQueryError, "Query-string authentication version 4 requires the X-Amz-Algorithm, "+
				"X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
		}
	}
	if fields["X-Amz-Algorithm"] != algorithm {
		return nil, s3err.New(s3err.AuthorizationQueryError, "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")
	}
	return fields, nil
}

// presignedPayload takes the payload hash from the query or a header; without either it is unsigned.
func (c *claim) presignedPayload(r *http.Request, fields map[string]string) error {
	hash, inQuery := fields["X-Amz-Content-Sha256"]
	header, inHeader, err := single(r.Header, contentHeader)
	if err != nil {
		return err
	}
	switch {
	case inQuery && inHeader && hash != header:
		return s3err.New(s3err.InvalidRequest, "X-Amz-Content-Sha256 differs between the query and the header.")
	case inHeader:
		hash = header
	case !inQuery:
		hash = unsignedPayload
	}
	c.payloadHash = hash
	if c.payload, err = parsePayload(hash); err != nil {
		return err
	}
	if c.payload.Mode.signedChunks() {
		return s3err.New(s3err.InvalidRequest, "A presigned URL cannot be used with a signed chunked upload.")
	}
	return nil
}

func parseExpires(value string) (time.Duration, error) {
	seconds, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil:
		return 0, s3err.New(s3err.AuthorizationQueryError, "X-Amz-Expires should be a number")
	case seconds < 1:
		return 0, s3err.New(s3err.AuthorizationQueryError, "X-Amz-Expires must be positive")
	case seconds > int64(maxExpiry/time.Second):
		return 0, s3err.New(s3err.AuthorizationQueryError, "X-Amz-Expires must be less than a week (in seconds); "+
			"that is, the given X-Amz-Expires must be less than 604800 seconds")
	}
	return time.Duration(seconds) * time.Second, nil
}

type malformedFunc func(format string, args ...any) *s3err.Error

// parse reads the three parts that both mechanisms share.
func (c *claim) parse(credential, signedHeaders, signature string, malformed malformedFunc) error {
	parts := strings.Split(credential, "/")
	if len(parts) != 5 {
		return malformed("the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".")
	}
	c.accessKey, c.scope = parts[0], Scope{Date: parts[1], Region: parts[2], Service: parts[3]}
	switch {
	case !printable(c.accessKey, maxAccessKey), !printable(c.scope.Region, maxScopePart), !printable(c.scope.Service, maxScopePart):
		return malformed("the Credential is mal-formed.")
	case parts[4] != terminator:
		return malformed("incorrect terminal %q. This endpoint uses \"aws4_request\".", parts[4])
	}
	if _, err := time.Parse(dateFormat, c.scope.Date); err != nil {
		return malformed("incorrect date format %q. This date in the credential must be in the format \"yyyyMMdd\".", c.scope.Date)
	}
	if c.signature = signature; !isHex(signature, 64) {
		return malformed("the Signature must be 64 lower-case hexadecimal digits.")
	}
	return c.parseSignedHeaders(signedHeaders, malformed)
}

func (c *claim) parseSignedHeaders(list string, malformed malformedFunc) error {
	c.signedHeaders = strings.SplitN(list, ";", maxSignedHeaders+1)
	if len(c.signedHeaders) > maxSignedHeaders {
		return malformed("too many SignedHeaders.")
	}
	seen := make(map[string]bool, len(c.signedHeaders))
	for _, name := range c.signedHeaders {
		if !isToken(name) || seen[name] {
			return malformed("SignedHeaders must be distinct lower-case header names.")
		}
		seen[name] = true
	}
	if !seen["host"] {
		return s3err.New(s3err.AccessDenied, "There were headers present in the request which were not signed: host")
	}
	return nil
}

// checkScope compares the credential scope with the time of the request and with what we serve.
func (v *Verifier[P]) checkScope(c *claim, malformed malformedFunc) error {
	if day := c.signedAt.Format(dateFormat); c.scope.Date != day {
		return malformed("Invalid credential date %q. This date is not the same as X-Amz-Date: %q.", c.scope.Date, day)
	}
	if c.scope.Service != v.service {
		return malformed("incorrect service %q. This endpoint belongs to %q.", c.scope.Service, v.service)
	}
	if v.region != "" && c.scope.Region != v.region {
		err := malformed("the region '%s' is wrong; expecting '%s'", c.scope.Region, v.region)
		err.Region = v.region
		return err
	}
	return nil
}

// requestTime is the time of signing: X-Amz-Date, or else Date.
func requestTime(h http.Header) (time.Time, error) {
	missing := s3err.New(s3err.AccessDenied, "AWS authentication requires a valid Date or x-amz-date header")
	value, present, err := single(h, dateHeader)
	if err != nil {
		return time.Time{}, err
	}
	if present {
		if t, err := time.Parse(timeFormat, value); err == nil {
			return t, nil
		}
		return time.Time{}, missing
	}
	if value, present, err = single(h, "Date"); err != nil {
		return time.Time{}, err
	}
	if !present {
		return time.Time{}, missing
	}
	for _, parse := range []func(string) (time.Time, error){
		func(s string) (time.Time, error) { return time.Parse(timeFormat, s) }, http.ParseTime,
		func(s string) (time.Time, error) { return time.Parse(time.RFC1123Z, s) }, // botocore's "-0000"
	} {
		if t, err := parse(value); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, missing
}

// sessionToken is the one token of a request, or "".
func sessionToken(values []string) (string, error) {
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1 || !printable(values[0], maxToken):
		return "", invalidToken()
	}
	return values[0], nil
}

// refuseToken refuses session tokens where a signature does not cover them.
func refuseToken(values []string) error {
	if len(values) > 0 {
		return invalidToken()
	}
	return nil
}

func invalidToken() error {
	return s3err.New(s3err.InvalidToken, "The provided token is malformed or otherwise invalid.")
}

// printable reports whether s is 1..limit visible ASCII characters.
func printable(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// isHex reports whether s is n lower-case hexadecimal digits.
func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range n {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isToken reports whether s is a header name (RFC 9110 token) in lower case.
func isToken(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return true
}
