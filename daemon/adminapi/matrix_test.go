package adminapi_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"k3fs/daemon/adminapi"
	"k3fs/daemon/adminapi/adminclient"
	"k3fs/daemon/adminapi/adminv1"
	"k3fs/daemon/adminapi/adminv1/adminv1connect"
	"k3fs/tenancy"
)

// row says who may call a method, beside the tenant's root: letters of the roles (Admin, Operator, readWrite, Readonly,
// aUditor). The request is one that changes nothing that others need; MINE in it is the name of a bucket.
type row struct{ may, request string }

// matrix has a row for each method. A new method needs one.
var matrix = map[string]row{
	"TenantService.CreateTenant": {"O", `{"name":"first-tenants-name-is-taken/"}`},
	"TenantService.ListTenants":  {"O", `{}`},
	"TenantService.GetTenant":    {"O", `{"name":"suspended"}`},
	"TenantService.UpdateTenant": {"O", `{"name":"nobody"}`},
	"TenantService.ResetTenant":  {"O", `{"name":"nobody"}`},
	"TenantService.DeleteTenant": {"O", `{"name":"nobody"}`},

	"TenantService.EraseTenant":     {"O", `{"tenant":"nobody"}`},
	"TenantService.RequestErasure":  {"O", `{"tenant":"nobody","reason":"r"}`},
	"TenantService.ConfirmErasure":  {"O", `{"tenant":"suspended","id":"e-none"}`},
	"TenantService.CancelErasure":   {"O", `{"tenant":"suspended"}`},
	"TenantService.ListErasures":    {"O", `{}`},
	"TenantService.SetRetentionCap": {"O", `{"tenant":"nobody"}`},
	"TenantService.GetRetentionCap": {"AOU", `{}`},

	"AccountService.WhoAmI":          {"AOWRU", `{}`},
	"AccountService.CreateAccount":   {"A", `{"name":"admin"}`},
	"AccountService.ListAccounts":    {"AOU", `{}`},
	"AccountService.GetAccount":      {"AOU", `{"name":"admin"}`},
	"AccountService.UpdateAccount":   {"A", `{"name":"nobody"}`},
	"AccountService.DeleteAccount":   {"A", `{"name":"nobody"}`},
	"AccountService.CreateAccessKey": {"A", `{"account":"nobody"}`},
	"AccountService.ListAccessKeys":  {"AOU", `{}`},
	"AccountService.RotateAccessKey": {"A", `{"id":"NOBODYSKEY"}`},
	"AccountService.UpdateAccessKey": {"A", `{"id":"NOBODYSKEY"}`},
	"AccountService.DeleteAccessKey": {"A", `{"id":"NOBODYSKEY"}`},

	"AccountService.ListSessions": {"AOU", `{}`},
	"AccountService.EndSessions":  {"AO", `{"account":"nobody"}`},

	"PolicyService.PutPolicy":    {"A", `{"name":"p","document":"{}"}`},
	"PolicyService.GetPolicy":    {"AOU", `{"name":"p"}`},
	"PolicyService.ListPolicies": {"AOU", `{}`},
	"PolicyService.DeletePolicy": {"A", `{"name":"p"}`},
	"PolicyService.AttachPolicy": {"A", `{"policy":"p","account":"nobody"}`},
	"PolicyService.DetachPolicy": {"A", `{"policy":"p","account":"nobody"}`},

	"BucketService.CreateBucket":        {"AW", `{"name":"MINE"}`},
	"BucketService.ListBuckets":         {"AOWRU", `{}`},
	"BucketService.GetBucket":           {"AWRU", `{"name":"MINE"}`},
	"BucketService.SetBucketVersioning": {"A", `{"name":"MINE","versioning":"VERSIONING_ENABLED"}`},
	"BucketService.SetBucketLock":       {"A", `{"name":"MINE"}`},
	"BucketService.GetBucketPolicy":     {"AOWRU", `{"name":"MINE"}`},
	"BucketService.PutBucketPolicy":     {"A", `{"name":"MINE","policy":"{}"}`},
	"BucketService.DeleteBucketPolicy":  {"A", `{"name":"MINE"}`},
	"BucketService.GetBucketCORS":       {"AOWRU", `{"name":"MINE"}`},
	"BucketService.SetBucketCORS":       {"AW", `{"name":"MINE"}`},
	"BucketService.DeleteBucket":        {"AW", `{"name":"MINE"}`},

	"ObjectService.ListObjects":    {"AWRU", `{"bucket":"MINE"}`},
	"ObjectService.GetObject":      {"AWRU", `{"bucket":"MINE","key":"a"}`},
	"ObjectService.DeleteObject":   {"AW", `{"bucket":"MINE","key":"none"}`},
	"ObjectService.ListVersions":   {"AWRU", `{"bucket":"MINE","key":"a"}`},
	"ObjectService.RestoreVersion": {"AW", `{"bucket":"MINE","key":"a","version":"null"}`},
	"ObjectService.ShareObject":    {"AWRU", `{"bucket":"MINE","key":"a"}`},
	"ObjectService.ListShares":     {"AOU", `{}`},
	"ObjectService.RevokeShare":    {"AO", `{"id":"nobodys"}`},

	"HoldService.PlaceHold":   {"AU", `{"bucket":"MINE","reason":"r","until":"2020-01-01T00:00:00Z"}`},
	"HoldService.ReleaseHold": {"A", `{"id":"HELD","reason":"r"}`},
	"HoldService.ListHolds":   {"AOU", `{}`},
	"HoldService.GetHold":     {"AOU", `{"id":"HELD"}`},
	"HoldService.ReportHolds": {"AU", `{}`},

	"AuditService.ListAuditRecords": {"AU", `{}`},
	"AuditService.GetAuditHead":     {"AU", `{}`},

	"UsageService.GetUsage":       {"AOWRU", `{"bucket":"MINE"}`},
	"UsageService.GetQuota":       {"AOWRU", `{"bucket":"MINE"}`},
	"UsageService.ListQuotas":     {"AOWRU", `{}`},
	"UsageService.SetQuota":       {"A", `{"bucket":"MINE"}`},
	"UsageService.SetTenantQuota": {"O", `{"tenant":"nobody"}`},
	"UsageService.GetRateLimits":  {"AOWRU", `{}`},
	"UsageService.SetRateLimits":  {"O", `{"tenant":"nobody"}`},

	"KeyService.RotateTenantKey": {"A", `{}`},
	"KeyService.GetTenantKey":    {"A", `{}`},
	"KeyService.RotateNodeKeys":  {"O", `{}`},
	"KeyService.GetNodeKeys":     {"O", `{}`},

	"MaintenanceService.GetMaintenance": {"O", `{}`},
	"MaintenanceService.Drain":          {"O", `{}`},
	"MaintenanceService.Undrain":        {"O", `{}`},
	"MaintenanceService.SetReadOnly":    {"O", `{}`},
	"MaintenanceService.StartScrub":     {"O", `{}`},
	"MaintenanceService.GetScrub":       {"O", `{}`},
	"MaintenanceService.StopScrub":      {"O", `{}`},
	"MaintenanceService.StartBackup":    {"O", `{"name":"../x"}`},
	"MaintenanceService.GetBackup":      {"O", `{}`},
	"MaintenanceService.StopBackup":     {"O", `{}`},
	"MaintenanceService.CollectGarbage": {"O", `{"dryRun":true,"list":5}`},

	"NodeService.GetStatus":    {"O", `{}`},
	"NodeService.GetClock":     {"AOWRU", `{}`},
	"NodeService.ConfirmClock": {"O", `{}`},
	"NodeService.ListMounts":   {"AOU", `{}`},
	"NodeService.EndMount":     {"AO", `{"dir":"/nowhere"}`},
}

var letters = map[tenancy.Role]string{tenancy.RoleAdmin: "A", tenancy.RoleOperator: "O", tenancy.RoleReadWrite: "W", tenancy.RoleReadOnly: "R", tenancy.RoleAuditor: "U"}

// methods are the names of all methods, with their paths.
func methods() map[string]string {
	all := map[string]string{}
	for _, f := range adminapi.Files() {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				all[string(s.Name())+"."+string(s.Methods().Get(j).Name())] = "/" + string(s.FullName()) + "/" + string(s.Methods().Get(j).Name())
			}
		}
	}
	return all
}

// caller makes requests as somebody, with something wrong perhaps.
type caller struct{ client *http.Client }

// post asks for a method, and returns the status and the code of the answer.
func (w *world) post(c caller, path, body string) (int, string, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.srv.URL+path, strings.NewReader(body))
	require.NoError(w.t, err)
	r.Header.Set("Content-Type", "application/json")
	res, err := c.client.Do(r)
	require.NoError(w.t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	var e struct{ Code string }
	_ = json.Unmarshal(raw, &e)
	if res.StatusCode == http.StatusOK {
		e.Code = "ok"
	}
	return res.StatusCode, e.Code, string(raw)
}

// actors are who asks: those of a role, by each kind of credential, and those who are nobody.
func (w *world) actors() (roles map[tenancy.Role]map[string]caller, nobodies map[string]caller) {
	ctx, root := context.Background(), w.ten.As(tenancy.Root(tenancy.FirstTenant))
	account := func(name string, n tenancy.NewAccount) tenancy.Credentials {
		_, err := root.CreateAccount(ctx, name, n)
		require.NoError(w.t, err)
		c, err := root.CreateAccessKey(ctx, name, time.Time{})
		require.NoError(w.t, err)
		return c
	}
	roles = map[tenancy.Role]map[string]caller{}
	for _, role := range tenancy.Roles() {
		key := account(string(role), tenancy.NewAccount{Role: role})
		roles[role] = map[string]caller{"access key": {client: w.client(key)}, "bearer": bearing(w.token(string(role), nil)), "session": w.session(string(role), 0)}
	}
	disabled, yes := account("disabled", tenancy.NewAccount{Role: tenancy.RoleAdmin}), true
	_, err := root.UpdateAccount(ctx, "disabled", tenancy.AccountChange{Disabled: &yes})
	require.NoError(w.t, err)
	_, suspended, err := root.CreateTenant(ctx, "suspended", "")
	require.NoError(w.t, err)
	status := tenancy.Suspended
	_, err = root.UpdateTenant(ctx, "suspended", tenancy.TenantChange{Status: &status})
	require.NoError(w.t, err)
	gone := account("gone", tenancy.NewAccount{Role: tenancy.RoleAdmin})
	require.NoError(w.t, root.DeleteAccount(ctx, "gone"))
	forged, session := w.root, w.target(w.root)
	forged.Secret += "x"
	session.SessionToken = "a-token-that-nobody-made"
	temporary, err := session.Client()
	require.NoError(w.t, err)

	as := func(change func(*http.Request)) caller {
		return caller{client: &http.Client{Transport: tampering{w.target(w.root), change}}}
	}
	authorization := func(from, to string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), from, to, 1))
		}
	}
	nobodies = map[string]caller{
		"anonymous": {client: http.DefaultClient}, "disabled account": {client: w.client(disabled)}, "suspended tenant": {client: w.client(suspended)},
		"deleted account": {client: w.client(gone)}, "wrong secret": {client: w.client(forged)}, "session that never was": {client: temporary},
		"forged signature": as(func(r *http.Request) {
			r.Header.Set("Authorization", regexp.MustCompile(`Signature=.{4}`).ReplaceAllString(r.Header.Get("Authorization"), "Signature=0000"))
		}),
		"another algorithm": as(authorization("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512")),
		"no algorithm":      as(authorization("AWS4-HMAC-SHA256", "none")),
		"signature for S3":  as(authorization("/k3fs/", "/s3/")),
		"bearer of an unsigned": as(func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.")
		}),
		"signature of version 2": as(func(r *http.Request) { r.Header.Set("Authorization", "AWS AKIAROOT00000000:c2lnbmF0dXJl") }),
		"without a nonce":        as(func(r *http.Request) { r.Header.Del(adminapi.NonceHeader) }),
		"another nonce":          as(func(r *http.Request) { r.Header.Set(adminapi.NonceHeader, strings.Repeat("n", 32)) }),
		"another body":           as(func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("{}  ")); r.ContentLength = 4 }),
		"another time": as(func(r *http.Request) {
			r.Header.Set("X-Amz-Date", time.Now().Add(time.Minute).UTC().Format("20060102T150405Z"))
		}),
		"tenant by a header":     as(func(r *http.Request) { r.Header.Set(adminapi.TenantHeader, "other"); r.Header.Del("Authorization") }),
		"expired session":        w.session("admin", -2*time.Hour),
		"signed an hour ago":     {client: &http.Client{Transport: late{w.root}}},
		"bearer and a signature": as(func(r *http.Request) { r.Header.Add("Authorization", "Bearer "+w.token("admin", nil)) }),
		"bearer and a signature in the query": as(func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+w.token("admin", nil))
			r.URL.RawQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256"
		}),
		"bearer and a tenant": as(func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+w.token("admin", nil))
			r.Header.Set(adminapi.TenantHeader, "other")
		}),
	}
	for name, token := range w.badTokens() {
		nobodies[name] = bearing(token)
	}
	return roles, nobodies
}

// badTokens are tokens for the account admin with something wrong.
func (w *world) badTokens() map[string]string {
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(w.t, err)
	say := func(name string, value any) string {
		return w.token("admin", func(c jwt.MapClaims) (jwt.SigningMethod, any) {
			c[name] = value
			return jwt.SigningMethodEdDSA, w.issuer
		})
	}
	signed := func(m jwt.SigningMethod, key any) string {
		return w.token("admin", func(jwt.MapClaims) (jwt.SigningMethod, any) { return m, key })
	}
	return map[string]string{
		"empty bearer": "", "expired bearer": say("exp", time.Now().Add(-time.Hour).Unix()), "bearer of later": say("nbf", time.Now().Add(time.Hour).Unix()),
		"bearer for others": say("aud", "others"), "bearer of another issuer": say("iss", "https://other.example"),
		"bearer of root": say("sub", "root"), "bearer of a disabled account": say("sub", "disabled"), "bearer of nobody": say("sub", "nobody"),
		"forged bearer": signed(jwt.SigningMethodEdDSA, stranger), "bearer signed by none": signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType),
		"bearer by the public key as a secret": signed(jwt.SigningMethodHS256, []byte(w.issuer.Public().(ed25519.PublicKey))),
	}
}

// bearing asks with a token.
func bearing(token string) caller {
	return caller{client: &http.Client{Transport: bearer(token)}}
}

type bearer string

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// session asks with temporary credentials of an account, made as if it were that much later.
func (w *world) session(account string, later time.Duration) caller {
	ctx := context.Background()
	w.ahead.Store(int64(later))
	defer w.ahead.Store(0)
	who, err := w.ten.Federated(ctx, "default", account)
	require.NoError(w.t, err)
	made, err := w.ten.Assume(ctx, who, tenancy.NewSession{})
	require.NoError(w.t, err)
	t := adminclient.Target{Endpoint: w.srv.URL, AccessKey: made.AccessKey, SecretKey: made.Secret, SessionToken: made.Token}
	client, err := t.Client()
	require.NoError(w.t, err)
	return caller{client: client}
}

// late signs requests as an hour ago.
type late struct{ c tenancy.Credentials }

// RoundTrip implements http.RoundTripper.
func (l late) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	r.Header.Set(adminapi.NonceHeader, strings.Repeat("l", 32))
	who := aws.Credentials{AccessKeyID: l.c.AccessKey, SecretAccessKey: l.c.Secret}
	if err := v4.NewSigner().SignHTTP(r.Context(), who, r, hash, adminapi.Service, "us-east-1", time.Now().Add(-time.Hour)); err != nil {
		return nil, err
	}
	return http.DefaultTransport.RoundTrip(r)
}

// tampering changes requests once they are signed.
type tampering struct {
	target adminclient.Target
	change func(*http.Request)
}

// RoundTrip implements http.RoundTripper.
func (c tampering) RoundTrip(r *http.Request) (*http.Response, error) {
	signed, err := c.target.Sign(r)
	if err != nil {
		return nil, err
	}
	c.change(signed)
	return http.DefaultTransport.RoundTrip(signed)
}

func TestMatrix(t *testing.T) {
	w := newWorld(t)
	v := w.fs.As(tenancy.Root(tenancy.FirstTenant))
	h := adminv1connect.NewBucketServiceClient(w.client(w.root), w.srv.URL)
	_, err := h.CreateBucket(t.Context(), connect.NewRequest(&adminv1.CreateBucketRequest{Name: "case", Versioning: true}))
	require.NoError(t, err)
	copyOf(t, v)
	held, err := adminv1connect.NewHoldServiceClient(w.client(w.root), w.srv.URL).PlaceHold(t.Context(), connect.NewRequest(&adminv1.PlaceHoldRequest{Bucket: "case", Reason: "r"}))
	require.NoError(t, err)
	roles, nobodies := w.actors()
	other := caller{client: w.client(w.other)}
	reader, err := w.ten.As(tenancy.Root(tenancy.FirstTenant)).CreateAccessKey(t.Context(), string(tenancy.RoleReadOnly), time.Time{})
	require.NoError(t, err)
	all := methods()
	require.Empty(t, missing(all, matrix), "methods without a row, or rows without a method")
	for name, path := range all {
		r := matrix[name]
		ask := func(bucket, hold string) string {
			return strings.NewReplacer("MINE", bucket, "HELD", hold).Replace(r.request)
		}
		body := ask("case", "h-none")
		for who, c := range nobodies {
			status, code, text := w.post(c, path, body)
			require.Equal(t, http.StatusUnauthorized, status, "%s by %s: %s", name, who, text)
			require.Equal(t, "unauthenticated", code, "%s by %s", name, who)
		}
		w.replayed(reader, path, body)
		for role, places := range roles {
			may := strings.Contains(r.may, letters[role])
			if !may { // of a hold that is there, too
				body = ask("case", held.Msg.Hold.Id)
			} else {
				body = ask("case", "h-none")
			}
			for place, c := range places {
				may := may && (place != "session" || name != "ObjectService.ShareObject") // a link would outlive it
				_, code, text := w.post(c, path, body)
				if may {
					require.NotContains(t, []string{"unauthenticated", "permission_denied", "internal", "unavailable", "unknown", ""}, code, "%s by %s with %s: %s", name, role, place, text)
				} else {
					require.Equal(t, "permission_denied", code, "%s by %s with %s: %s", name, role, place, text)
				}
			}
		}
		// Another tenant learns of this one's bucket and hold what it learns of none.
		_, code, text := w.post(other, path, ask("case", held.Msg.Hold.Id))
		if r.may == "O" {
			require.Equal(t, "permission_denied", code, "%s by another tenant: %s", name, text)
		}
		if strings.Contains(r.request, "MINE") && name != "BucketService.CreateBucket" || strings.Contains(r.request, "HELD") {
			_, absent, none := w.post(other, path, ask("absent", "h-0000000000000000"))
			require.Equal(t, "not_found", code, "%s by another tenant: %s", name, text)
			require.Equal(t, absent, code, name)
			require.Equal(t, anonymised(none, "absent", "h-0000000000000000"), anonymised(text, "case", held.Msg.Hold.Id), name)
		}
	}
}

// missing are the methods that have no row, and the rows that have no method.
func missing(methods map[string]string, rows map[string]row) (names []string) {
	for name := range methods {
		if _, ok := rows[name]; !ok {
			names = append(names, name)
		}
	}
	for name := range rows {
		if _, ok := methods[name]; !ok {
			names = append(names, name)
		}
	}
	return names
}

// A new method without a row fails the matrix, and so does a row whose method has gone.
func TestMatrixMissesNothing(t *testing.T) {
	all := methods()
	all["NodeService.Explode"] = "/k3fs.admin.v1.NodeService/Explode"
	require.Equal(t, []string{"NodeService.Explode"}, missing(all, matrix))
	delete(all, "NodeService.Explode")
	delete(all, "NodeService.GetClock")
	require.Equal(t, []string{"NodeService.GetClock"}, missing(all, matrix))
}

// replayed makes a request of somebody, and then the very same again, which nobody is answered.
func (w *world) replayed(c tenancy.Credentials, path, body string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.srv.URL+path, strings.NewReader(body))
	require.NoError(w.t, err)
	r.Header.Set("Content-Type", "application/json")
	signed, err := w.target(c).Sign(r)
	require.NoError(w.t, err)
	for _, again := range []bool{false, true} {
		r := signed.Clone(w.t.Context())
		r.Body = io.NopCloser(strings.NewReader(body))
		res, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(w.t, err)
		require.NoError(w.t, res.Body.Close())
		require.Equal(w.t, again, res.StatusCode == http.StatusUnauthorized, "%s replayed: %s", path, res.Status)
	}
}

// anonymised is an answer without names and what differs from request to request.
func anonymised(text string, names ...string) string {
	for _, n := range names {
		text = strings.ReplaceAll(text, n, "NAME")
	}
	text = regexp.MustCompile(`"requestId": ?"[^"]*"`).ReplaceAllString(text, "")
	return regexp.MustCompile(`"value":"[^"]*"`).ReplaceAllString(text, "")
}

// A request that was overheard is of no use.
func TestReplay(t *testing.T) {
	w := newWorld(t)
	path := adminv1connect.NodeServiceGetClockProcedure
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.srv.URL+path, strings.NewReader("{}"))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	signed, err := w.target(w.root).Sign(r)
	require.NoError(t, err)
	body, err := io.ReadAll(signed.Body)
	require.NoError(t, err)
	for _, want := range []int{http.StatusOK, http.StatusUnauthorized, http.StatusUnauthorized} {
		again := signed.Clone(t.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		res, err := http.DefaultTransport.RoundTrip(again)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, want, res.StatusCode)
	}
}
