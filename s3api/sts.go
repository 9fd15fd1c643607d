package s3api

import (
	"context"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"k3fs/s3api/internal/s3err"
	"k3fs/s3api/internal/sigv4"
	"k3fs/tenancy"
	"k3fs/tenancy/policy"
)

// Sessions makes temporary credentials. *tenancy.Tenancy is one.
type Sessions interface {
	Assume(ctx context.Context, p tenancy.Principal, n tenancy.NewSession) (tenancy.Session, error)
	AssumeFederated(ctx context.Context, p tenancy.Principal, n tenancy.NewSession) (tenancy.Session, error)
}

const (
	stsVersion = "2011-06-15"
	stsXMLNS   = "https://sts.amazonaws.com/doc/2011-06-15/"
	maxSTSBody = 64 << 10
)

// stsActions are those of the AWS Security Token Service that are answered at the root of the endpoint.
var stsActions = map[string]func(*request, url.Values) (any, error){
	"AssumeRole":                (*request).assumeRole,
	"AssumeRoleWithWebIdentity": (*request).assumeWithIdentity,
	"GetSessionToken":           (*request).sessionToken,
	"GetCallerIdentity":         (*request).callerIdentity,
}

// isSTS reports whether a request is for the token service: POST / with a form, which no S3 request is.
func (q *request) isSTS() bool {
	kind, _, err := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	return q.s.o.Sessions != nil && q.bucket == "" && q.key == "" && q.r.Method == http.MethodPost && q.r.URL.RawQuery == "" &&
		err == nil && kind == "application/x-www-form-urlencoded"
}

// sts answers a request for the token service in that one's words.
func (q *request) sts() {
	q.operation = "sts:unknown"
	doc, err := q.stsAnswer()
	if err == nil {
		err = q.writeXML(http.StatusOK, doc)
	}
	if err != nil {
		q.failSTS(err)
	}
}

func (q *request) stsAnswer() (any, error) {
	body, err := io.ReadAll(io.LimitReader(q.r.Body, maxSTSBody+1))
	if err != nil {
		return nil, s3err.Wrap(err, s3err.IncompleteBody, "The body could not be read.")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || len(body) > maxSTSBody {
		return nil, s3err.New("MalformedQueryString", "The body is no form of at most %d bytes.", maxSTSBody)
	}
	for name, values := range form {
		if len(values) > 1 {
			return nil, s3err.New(stsInvalid, "The parameter %s comes twice.", printable(name))
		}
	}
	action := stsActions[form.Get("Action")]
	if action == nil || form.Get("Version") != stsVersion {
		return nil, s3err.New("InvalidAction", "Could not find operation %s for version %s", printable(form.Get("Action")), printable(form.Get("Version")))
	}
	q.operation = form.Get("Action")
	id, err := q.s.stsVerifier.VerifyBody(q.r, sha256.Sum256(body))
	if err != nil {
		return nil, err
	}
	q.proven(id)
	return action(q, form)
}

// The codes of the token service.
const (
	stsInvalid      s3err.Code = "ValidationError"
	stsPolicy       s3err.Code = "MalformedPolicyDocument"
	stsIdentity     s3err.Code = "InvalidIdentityToken"
	stsExpired      s3err.Code = "ExpiredTokenException"
	stsIssuerAway   s3err.Code = "IDPCommunicationError"
	stsNoCaller     s3err.Code = "MissingAuthenticationToken"
	stsUnknownKey   s3err.Code = "InvalidClientTokenId"
	stsExpiredToken s3err.Code = "ExpiredToken"
)

// caller is who signed the request.
func (q *request) caller() (tenancy.Principal, error) {
	if q.identity.Mechanism != sigv4.Header {
		return tenancy.Principal{}, s3err.New(stsNoCaller, "Request is missing Authentication Token")
	}
	p := q.identity.Principal
	p.AccessKey = q.identity.AccessKey
	p.Request = &tenancy.Request{Values: q.conditionValues}
	return p, nil
}

func newSession(form url.Values) (n tenancy.NewSession, err error) {
	n = tenancy.NewSession{Role: form.Get("RoleArn"), Name: form.Get("RoleSessionName"), Policy: []byte(form.Get("Policy"))}
	if text := form.Get("DurationSeconds"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil || seconds == 0 {
			return n, s3err.New(stsInvalid, "DurationSeconds must be a number of seconds")
		}
		n.Duration = time.Duration(seconds) * time.Second
	}
	for name := range form { // what would narrow the session is not to be passed over
		if len(name) > 10 && name[:10] == "PolicyArns" || name == "SerialNumber" || name == "TokenCode" {
			return n, s3err.New(stsInvalid, "%s is not supported", printable(name))
		}
	}
	return n, nil
}

func (q *request) assumeRole(form url.Values) (any, error) {
	p, err := q.caller()
	if err != nil {
		return nil, err
	}
	n, err := newSession(form)
	if err != nil {
		return nil, err
	}
	if n.Role == "" || n.Name == "" {
		return nil, s3err.New(stsInvalid, "RoleArn and RoleSessionName are required")
	}
	s, err := q.s.o.Sessions.Assume(q.ctx(), p, n)
	if err != nil {
		return nil, err
	}
	return assumedDoc{NS: stsXMLNS, Result: assumed(s, n), Meta: q.stsMeta()}, nil
}

func (q *request) assumeWithIdentity(form url.Values) (any, error) {
	if q.identity.Mechanism != sigv4.Anonymous {
		return nil, s3err.New(s3err.InvalidArgument, "Only one auth mechanism allowed: a web identity's request is not signed")
	}
	n, err := newSession(form)
	if err != nil {
		return nil, err
	}
	if n.Role == "" || n.Name == "" {
		return nil, s3err.New(stsInvalid, "RoleArn and RoleSessionName are required")
	}
	p, err := q.s.bearer(q.ctx(), form.Get("WebIdentityToken"))
	if err != nil {
		return nil, err
	}
	s, err := q.s.o.Sessions.AssumeFederated(q.ctx(), p.Principal, n)
	if err != nil {
		return nil, err
	}
	return federatedDoc{NS: stsXMLNS, Result: federatedResult{assumedResult: assumed(s, n), Subject: printable(p.Subject),
		Provider: printable(p.Issuer), Audience: printable(p.Audience)}, Meta: q.stsMeta()}, nil
}

func (q *request) sessionToken(form url.Values) (any, error) {
	p, err := q.caller()
	if err != nil {
		return nil, err
	}
	n, err := newSession(form)
	if err != nil {
		return nil, err
	}
	if form.Get("DurationSeconds") == "" {
		n.Duration = tenancy.MaxSession // as AWS
	}
	n.Role, n.Name, n.Policy = "", "", nil
	s, err := q.s.o.Sessions.Assume(q.ctx(), p, n)
	if err != nil {
		return nil, err
	}
	return sessionDoc{NS: stsXMLNS, Credentials: stsCredentialsOf(s), Meta: q.stsMeta()}, nil
}

// callerIdentity needs no permission, as on AWS: it tells who asks only what he must know.
func (q *request) callerIdentity(url.Values) (any, error) {
	p, err := q.caller()
	if err != nil {
		return nil, err
	}
	return identityDoc{NS: stsXMLNS, Account: p.Tenant.AccountID(), UserID: p.UserID(), ARN: p.ARN(), Meta: q.stsMeta()}, nil
}

func (q *request) stsMeta() stsMeta { return stsMeta{q.id} }

// stsErrors translates what tenancy says.
var stsErrors = []struct {
	is     error
	code   s3err.Code
	status int
	text   string // empty: the error's own
}{
	{tenancy.ErrSessionCaller, s3err.AccessDenied, 403, "Cannot call this operation with session credentials"},
	{tenancy.ErrDenied, s3err.AccessDenied, 403, "Not authorized to perform: " + string(tenancy.AssumeRole)},
	{tenancy.ErrInvalid, stsInvalid, 400, ""},
}

// stsStatus is the HTTP status of codes that are not 400.
var stsStatus = map[s3err.Code]int{
	s3err.AccessDenied: 403, s3err.SignatureDoesNotMatch: 403, stsUnknownKey: 403, stsNoCaller: 403, stsExpiredToken: 403,
	codeServiceUnavailable: 503, codeInternal: 500,
}

func (q *request) failSTS(err error) {
	code, status, text := codeInternal, http.StatusInternalServerError, "We encountered an internal error. Please try again."
	var wire *s3err.Error
	var document *policy.Error
	switch {
	case errors.As(err, &wire):
		code, text = wire.Code, wire.Message
		if code == s3err.InvalidAccessKeyID || code == s3err.InvalidToken {
			code, text = stsUnknownKey, "The security token included in the request is invalid."
		}
		if status = stsStatus[code]; status == 0 {
			status = http.StatusBadRequest
		}
	case errors.As(err, &document):
		code, status, text = stsPolicy, http.StatusBadRequest, document.Error()
	default:
		for _, known := range stsErrors {
			if errors.Is(err, known.is) {
				code, status, text = known.code, known.status, known.text
				if text == "" {
					text = err.Error()
				}
				break
			}
		}
	}
	q.code = code
	if status >= http.StatusInternalServerError {
		q.s.o.Logger.Error("sts: request failed", "request", q.id, "operation", q.operation, "status", status, "error", err)
	}
	q.w.Header().Set("Connection", "close")
	kind := "Sender"
	if status >= http.StatusInternalServerError {
		kind = "Receiver"
	}
	if err := q.writeXML(status, stsErrorDoc{NS: stsXMLNS, Type: kind, Code: string(code), Message: printable(text), ID: q.id}); err != nil {
		q.w.WriteHeader(http.StatusInternalServerError)
	}
}

type stsMeta struct {
	ID string `xml:"RequestId"`
}

type stsErrorDoc struct {
	XMLName xml.Name `xml:"ErrorResponse"`
	NS      string   `xml:"xmlns,attr"`
	Type    string   `xml:"Error>Type"`
	Code    string   `xml:"Error>Code"`
	Message string   `xml:"Error>Message"`
	ID      string   `xml:"RequestId"`
}

type stsCredentials struct {
	AccessKey  string `xml:"AccessKeyId"`
	Secret     string `xml:"SecretAccessKey"`
	Token      string `xml:"SessionToken"`
	Expiration string
}

func stsCredentialsOf(s tenancy.Session) stsCredentials {
	return stsCredentials{s.AccessKey, s.Secret, s.Token, s.Expires.UTC().Format(time.RFC3339)}
}

type assumedResult struct {
	Credentials stsCredentials
	ID          string `xml:"AssumedRoleUser>AssumedRoleId"`
	ARN         string `xml:"AssumedRoleUser>Arn"`
	PackedSize  int    `xml:"PackedPolicySize"`
}

func assumed(s tenancy.Session, n tenancy.NewSession) assumedResult {
	return assumedResult{Credentials: stsCredentialsOf(s), ID: s.Principal.UserID(), ARN: s.Principal.ARN(), PackedSize: len(n.Policy) * 100 / 2048}
}

type assumedDoc struct {
	XMLName xml.Name      `xml:"AssumeRoleResponse"`
	NS      string        `xml:"xmlns,attr"`
	Result  assumedResult `xml:"AssumeRoleResult"`
	Meta    stsMeta       `xml:"ResponseMetadata"`
}

type federatedResult struct {
	assumedResult
	Subject  string `xml:"SubjectFromWebIdentityToken"`
	Provider string
	Audience string
}

type federatedDoc struct {
	XMLName xml.Name        `xml:"AssumeRoleWithWebIdentityResponse"`
	NS      string          `xml:"xmlns,attr"`
	Result  federatedResult `xml:"AssumeRoleWithWebIdentityResult"`
	Meta    stsMeta         `xml:"ResponseMetadata"`
}

type sessionDoc struct {
	XMLName     xml.Name       `xml:"GetSessionTokenResponse"`
	NS          string         `xml:"xmlns,attr"`
	Credentials stsCredentials `xml:"GetSessionTokenResult>Credentials"`
	Meta        stsMeta        `xml:"ResponseMetadata"`
}

type identityDoc struct {
	XMLName xml.Name `xml:"GetCallerIdentityResponse"`
	NS      string   `xml:"xmlns,attr"`
	ARN     string   `xml:"GetCallerIdentityResult>Arn"`
	UserID  string   `xml:"GetCallerIdentityResult>UserId"`
	Account string   `xml:"GetCallerIdentityResult>Account"`
	Meta    stsMeta  `xml:"ResponseMetadata"`
}
