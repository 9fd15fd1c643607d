package s3api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	static "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"k3fs/tenancy"
)

// account makes an account of the first tenant, with an access key.
func (w *world) account(name string, role tenancy.Role) tenancy.Credentials {
	w.t.Helper()
	as := w.ten.As(tenancy.Root(tenancy.FirstTenant))
	_, err := as.CreateAccount(w.t.Context(), name, tenancy.NewAccount{Role: role})
	require.NoError(w.t, err)
	key, err := as.CreateAccessKey(w.t.Context(), name, time.Time{})
	require.NoError(w.t, err)
	return key
}

func (w *world) sts(c tenancy.Credentials) *sts.Client {
	return sts.New(sts.Options{BaseEndpoint: &w.srv.URL, Region: "us-east-1", RetryMaxAttempts: 1,
		Credentials: static.NewStaticCredentialsProvider(c.AccessKey, c.Secret, "")})
}

func (w *world) s3(c aws.CredentialsProvider) *s3.Client {
	return s3.New(s3.Options{BaseEndpoint: &w.srv.URL, UsePathStyle: true, Region: "us-east-1", RetryMaxAttempts: 1, Credentials: c})
}

func apiCode(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

const firstRole = "arn:aws:iam::000000000001:role/"

func TestAssumeRoleWithTheSDK(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.want(200, "PUT", "/bucket", "", nil)
	w.want(200, "PUT", "/bucket/key", "data", nil)
	admin := w.account("boss", tenancy.RoleAdmin)
	w.account("reader", tenancy.RoleReadOnly)

	provider := stscreds.NewAssumeRoleProvider(w.sts(admin), firstRole+"reader", func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "test" })
	c := w.s3(provider)
	_, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("key")})
	require.NoError(t, err)
	_, err = c.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("other"), Body: strings.NewReader("x")})
	require.Equal(t, "AccessDenied", apiCode(err))
	presigned, err := s3.NewPresignClient(c).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("key")})
	require.NoError(t, err)
	res, err := http.Get(presigned.URL)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 200, res.StatusCode)
	res, err = http.Get(strings.Replace(presigned.URL, "X-Amz-Security-Token=K3S1", "X-Amz-Security-Token=K3S1A", 1))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 400, res.StatusCode)

	policy := `{"Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/allowed/*"}}`
	narrowed := w.s3(stscreds.NewAssumeRoleProvider(w.sts(admin), firstRole+"boss", func(o *stscreds.AssumeRoleOptions) { o.Policy = &policy }))
	_, err = narrowed.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("key")})
	require.Equal(t, "AccessDenied", apiCode(err))

	got, err := provider.Retrieve(ctx)
	require.NoError(t, err)
	who, err := sts.New(sts.Options{BaseEndpoint: &w.srv.URL, Region: "us-east-1", Credentials: static.StaticCredentialsProvider{Value: got}}).
		GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	require.NoError(t, err)
	require.Equal(t, "arn:aws:sts::000000000001:assumed-role/reader/test", *who.Arn)
	require.Equal(t, "000000000001", *who.Account)

	require.NoError(t, w.ten.As(tenancy.Root(tenancy.FirstTenant)).EndSessions(ctx, "reader"))
	_, err = w.s3(static.StaticCredentialsProvider{Value: got}).GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("key")})
	require.Equal(t, "InvalidToken", apiCode(err))
}

func TestSessionTokenExpires(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.want(200, "PUT", "/bucket", "", nil)
	out, err := w.sts(w.mine).GetSessionToken(ctx, &sts.GetSessionTokenInput{DurationSeconds: aws.Int32(900)})
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(15*time.Minute), *out.Credentials.Expiration, time.Minute)
	c := w.s3(static.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken))
	_, err = c.ListBuckets(ctx, &s3.ListBucketsInput{})
	require.NoError(t, err)
	bare := w.s3(static.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, ""))
	_, err = bare.ListBuckets(ctx, &s3.ListBucketsInput{})
	require.Equal(t, "InvalidAccessKeyId", apiCode(err))
	w.ahead.Store(int64(16 * time.Minute))
	_, err = c.ListBuckets(ctx, &s3.ListBucketsInput{})
	require.Equal(t, "ExpiredToken", apiCode(err))
}

func TestSTSRefuses(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	writer := w.account("writer", tenancy.RoleReadWrite)
	w.account("reader", tenancy.RoleReadOnly)
	assume := func(c tenancy.Credentials, in sts.AssumeRoleInput) string {
		if in.RoleSessionName == nil {
			in.RoleSessionName = aws.String("name")
		}
		_, err := w.sts(c).AssumeRole(ctx, &in)
		require.Error(t, err)
		return apiCode(err)
	}
	require.Equal(t, "AccessDenied", assume(writer, sts.AssumeRoleInput{RoleArn: aws.String(firstRole + "reader")}))
	require.Equal(t, "AccessDenied", assume(w.mine, sts.AssumeRoleInput{RoleArn: aws.String(firstRole + "nobody")}))
	require.Equal(t, "AccessDenied", assume(w.them, sts.AssumeRoleInput{RoleArn: aws.String(firstRole + "reader")}))
	require.Equal(t, "ValidationError", assume(w.mine, sts.AssumeRoleInput{RoleArn: aws.String("reader-of-the-first-tenant")}))
	require.Equal(t, "ValidationError", assume(w.mine, sts.AssumeRoleInput{RoleArn: aws.String(firstRole + "reader"), DurationSeconds: aws.Int32(60)}))
	require.Equal(t, "MalformedPolicyDocument", assume(w.mine, sts.AssumeRoleInput{RoleArn: aws.String(firstRole + "reader"), Policy: aws.String("{}")}))
	require.Equal(t, "InvalidClientTokenId", assume(tenancy.Credentials{AccessKey: "AKIANOBODY", Secret: "secret-secret"}, sts.AssumeRoleInput{RoleArn: aws.String(firstRole + "reader")}))
	require.Equal(t, "SignatureDoesNotMatch", assume(tenancy.Credentials{AccessKey: w.mine.AccessKey, Secret: "wrong-secret"}, sts.AssumeRoleInput{RoleArn: aws.String(firstRole + "reader")}))

	post := func(form url.Values, change func(*http.Request)) (int, string) {
		r, err := http.NewRequest("POST", w.srv.URL+"/", strings.NewReader(form.Encode()))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if change != nil {
			change(r)
		}
		res, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		defer res.Body.Close()
		return res.StatusCode, code(res.Body)
	}
	form := func(pairs ...string) url.Values {
		f := url.Values{"Version": {"2011-06-15"}}
		for i := 0; i < len(pairs); i += 2 {
			f.Add(pairs[i], pairs[i+1])
		}
		return f
	}
	for name, tt := range map[string]struct {
		form   url.Values
		status int
		code   string
	}{
		"unsigned":       {form("Action", "GetCallerIdentity"), 403, "MissingAuthenticationToken"},
		"unknown":        {form("Action", "GetFederationToken"), 400, "InvalidAction"},
		"version":        {url.Values{"Action": {"GetCallerIdentity"}}, 400, "InvalidAction"},
		"twice":          {form("Action", "GetCallerIdentity", "Action", "GetCallerIdentity"), 400, "ValidationError"},
		"no token":       {form("Action", "AssumeRoleWithWebIdentity", "RoleArn", firstRole+"reader", "RoleSessionName", "n1"), 400, "InvalidIdentityToken"},
		"bad token":      {form("Action", "AssumeRoleWithWebIdentity", "RoleArn", firstRole+"reader", "RoleSessionName", "n1", "WebIdentityToken", "x"), 400, "InvalidIdentityToken"},
		"expired token":  {form("Action", "AssumeRoleWithWebIdentity", "RoleArn", firstRole+"reader", "RoleSessionName", "n1", "WebIdentityToken", "expired"), 400, "ExpiredTokenException"},
		"issuer is away": {form("Action", "AssumeRoleWithWebIdentity", "RoleArn", firstRole+"reader", "RoleSessionName", "n1", "WebIdentityToken", "away"), 400, "IDPCommunicationError"},
		"too long":       {form("Action", "GetCallerIdentity", "x", strings.Repeat("x", maxSTSBody)), 400, "MalformedQueryString"},
	} {
		status, code := post(tt.form, nil)
		require.Equal(t, tt.status, status, name)
		require.Equal(t, tt.code, code, name)
	}
	// What was signed for S3 is of no use here.
	res := w.call(&w.mine, "POST", "/", form("Action", "GetCallerIdentity").Encode(), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, nil)
	defer res.Body.Close()
	require.Equal(t, 400, res.StatusCode)
}

func TestWebIdentity(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.want(200, "PUT", "/bucket", "", nil)
	w.account("reader", tenancy.RoleReadOnly)
	w.account("writer", tenancy.RoleReadWrite)
	p, err := w.ten.Federated(ctx, "default", "reader")
	require.NoError(t, err)
	w.tokens = map[string]tenancy.Principal{"good": p}
	c := sts.New(sts.Options{BaseEndpoint: &w.srv.URL, Region: "us-east-1", RetryMaxAttempts: 1})
	provider := stscreds.NewWebIdentityRoleProvider(c, firstRole+"reader", tokenText("good"))
	_, err = w.s3(provider).ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("bucket")})
	require.NoError(t, err)
	_, err = stscreds.NewWebIdentityRoleProvider(c, firstRole+"writer", tokenText("good")).Retrieve(ctx)
	require.Equal(t, "AccessDenied", apiCode(err), "the token is not for that account")
	_, err = stscreds.NewWebIdentityRoleProvider(c, firstRole+"reader", tokenText("bad")).Retrieve(ctx)
	require.Equal(t, "InvalidIdentityToken", apiCode(err))
	_, err = w.ten.Federated(ctx, "default", "root")
	require.ErrorIs(t, err, tenancy.ErrDenied)
}

type tokenText string

func (t tokenText) GetIdentityToken() ([]byte, error) { return []byte(t), nil }

func TestBearer(t *testing.T) {
	w := newWorld(t)
	w.want(200, "PUT", "/bucket", "", nil)
	w.want(200, "PUT", "/bucket/key", "data", nil)
	w.account("reader", tenancy.RoleReadOnly)
	p, err := w.ten.Federated(context.Background(), "default", "reader")
	require.NoError(t, err)
	w.tokens = map[string]tenancy.Principal{"good": p}
	ask := func(method, path, token string, change func(*http.Request)) (int, string) {
		t.Helper()
		res := w.call(nil, method, path, "", http.Header{"Authorization": {token}}, change)
		defer res.Body.Close()
		return res.StatusCode, code(res.Body)
	}
	for _, tt := range []struct {
		method, path, token string
		status              int
		code                string
	}{
		{"GET", "/bucket/key", "Bearer good", 200, ""},
		{"GET", "/bucket/key", "bearer  good", 200, ""},
		{"PUT", "/bucket/other", "Bearer good", 403, "AccessDenied"},
		{"GET", "/bucket/key", "Bearer bad", 400, "InvalidToken"},
		{"GET", "/bucket/key", "Bearer ", 400, "InvalidToken"},
		{"GET", "/bucket/key", "Bearer", 400, "InvalidToken"},
		{"GET", "/bucket/key", "Bearer " + strings.Repeat("x", maxBearer+1), 400, "InvalidToken"},
		{"GET", "/bucket/key", "Bearer expired", 400, "ExpiredToken"},
		{"GET", "/bucket/key", "Bearer away", 503, "ServiceUnavailable"},
		{"GET", "/bucket/key", "BearerX good", 400, "InvalidArgument"},
		{"GET", "/bucket/key?X-Amz-Signature=x", "Bearer good", 400, "AuthorizationQueryParametersError"},
		{"GET", "/bucket/key?X-K3-Token=x", "Bearer good", 400, "InvalidArgument"},
	} {
		status, code := ask(tt.method, tt.path, tt.token, nil)
		require.Equal(t, tt.status, status, "%+v", tt)
		require.Equal(t, tt.code, code, "%+v", tt)
	}
	status, _ := ask("GET", "/bucket/key", "Bearer good", func(r *http.Request) { r.Header.Add("Authorization", "Bearer good") })
	require.Equal(t, 400, status)
	_, err = w.ten.As(tenancy.Root(tenancy.FirstTenant)).UpdateAccount(t.Context(), "reader", tenancy.AccountChange{Disabled: new(true)})
	require.NoError(t, err)
	status, _ = ask("GET", "/bucket/key", "Bearer good", nil)
	require.Equal(t, 403, status)
}
