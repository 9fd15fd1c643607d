package s3api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/require"

	"k3fs/tenancy"
)

// asker is a column of the matrix: who asks, and where he carries his credential.
type asker struct {
	name string
	// may says which permissions he has in the first tenant; nil: none.
	may func(a tenancy.Action) bool
	// apart: nothing may tell him an existing name from one that is not there.
	apart bool
	sign  func(t testing.TB, r *http.Request, body string)
}

// everywhere is a asker with an access key in every place that carries one.
func everywhere(name string, cred tenancy.Credentials, may func(tenancy.Action) bool, apart bool) (all []asker) {
	for _, p := range places {
		all = append(all, asker{name + ", " + p.name, may, apart, func(t testing.TB, r *http.Request, body string) { p.sign(t, r, &cred, body) }})
	}
	return all
}

// session signs with temporary credentials, in the header or in the query.
func session(name string, s tenancy.Session, may func(tenancy.Action) bool) (all []asker) {
	cred := aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.Secret, SessionToken: s.Token}
	const payload = "UNSIGNED-PAYLOAD"
	return []asker{{name + ", header", may, false, func(t testing.TB, r *http.Request, body string) {
		setBody(r, body)
		r.Header.Set("X-Amz-Content-Sha256", payload)
		require.NoError(t, newSigner().SignHTTP(context.Background(), cred, r, payload, "s3", "us-east-1", time.Now()))
	}}, {name + ", query", may, false, func(t testing.TB, r *http.Request, body string) {
		setBody(r, body)
		q := r.URL.Query()
		q.Set("X-Amz-Expires", "60")
		r.URL.RawQuery = q.Encode()
		signed, _, err := newSigner().PresignHTTP(context.Background(), cred, r, payload, "s3", "us-east-1", time.Now())
		require.NoError(t, err)
		r.URL, err = url.Parse(signed)
		require.NoError(t, err)
		for name := range r.URL.Query() {
			r.Header.Del(name)
		}
	}}}
}

func bearing(name, token string, may func(tenancy.Action) bool) asker {
	return asker{name, may, false, func(_ testing.TB, r *http.Request, body string) {
		setBody(r, body)
		r.Header.Set("Authorization", "Bearer "+token)
	}}
}

func linked(name string, l tenancy.ShareLink, may func(tenancy.Action) bool) asker {
	return asker{name, may, false, func(_ testing.TB, r *http.Request, body string) {
		setBody(r, body)
		r.URL.RawQuery = strings.TrimPrefix(r.URL.RawQuery+"&"+query(l).Encode(), "&")
	}}
}

// askers are the columns. The order matters to nobody.
func (w *world) askers(t *testing.T) (all []asker) {
	t.Helper()
	ctx := t.Context()
	mine := w.ten.As(tenancy.Root(tenancy.FirstTenant))
	for _, role := range tenancy.Roles() {
		all = append(all, everywhere(string(role), w.account(string(role), role), role.Has, false)...)
	}
	disabled := w.account("disabled", tenancy.RoleAdmin)
	_, err := mine.UpdateAccount(ctx, "disabled", tenancy.AccountChange{Disabled: new(true)})
	require.NoError(t, err)
	all = append(all, everywhere("disabled", disabled, nil, false)...)

	_, other, err := mine.CreateTenant(ctx, "neighbour", "")
	require.NoError(t, err)
	all = append(all, everywhere("other tenant", other, nil, true)...)
	_, gone, err := mine.CreateTenant(ctx, "gone", "")
	require.NoError(t, err)
	_, err = mine.UpdateTenant(ctx, "gone", tenancy.TenantChange{Status: new(tenancy.Suspended)})
	require.NoError(t, err)
	all = append(all, everywhere("suspended tenant", gone, nil, true)...)
	all = append(all, everywhere("forged", tenancy.Credentials{AccessKey: w.mine.AccessKey, Secret: "not-the-secret-not-the-secret"}, nil, true)...)
	all = append(all, everywhere("unknown key", tenancy.Credentials{AccessKey: "AKIANOBODY000000", Secret: "not-the-secret-not-the-secret"}, nil, true)...)
	all = append(all, asker{"anonymous", nil, true, func(_ testing.TB, r *http.Request, body string) { setBody(r, body) }})

	reader, err := w.ten.Federated(ctx, "default", "readonly")
	require.NoError(t, err)
	live, err := w.ten.Assume(ctx, reader, tenancy.NewSession{})
	require.NoError(t, err)
	all = append(all, session("session", live, tenancy.RoleReadOnly.Has)...)
	bare, forged, dead := live, live, live
	bare.Token, forged.Token = "", live.Token[:len(live.Token)-4]+"AAAA"
	w.ahead.Store(-int64(2 * time.Hour))
	dead, err = w.ten.Assume(ctx, reader, tenancy.NewSession{})
	require.NoError(t, err)
	link := w.link("readonly", tenancy.NewShare{Bucket: "bucket", Key: "key"})
	w.ahead.Store(0)
	all = append(all, session("session without its token", bare, nil)...)
	all = append(all, session("session with a forged token", forged, nil)...)
	all = append(all, session("expired session", dead, nil)...)

	w.tokens = map[string]tenancy.Principal{"reader": reader}
	all = append(all, bearing("bearer", "reader", tenancy.RoleReadOnly.Has), bearing("forged bearer", "x.y.z", nil), bearing("expired bearer", "expired", nil))

	elsewhere := w.link("readonly", tenancy.NewShare{Bucket: "bucket", Key: "elsewhere"})
	torn := w.link("readonly", tenancy.NewShare{Bucket: "bucket", Key: "key"})
	torn.Token = torn.Token[:len(torn.Token)-4] + "AAAA"
	return append(all, linked("expired link", link, nil), linked("link to another object", elsewhere, nil), linked("forged link", torn, nil),
		asker{"wrong algorithm", nil, true, func(_ testing.TB, r *http.Request, body string) {
			setBody(r, body)
			r.Header.Set("Authorization", "AWS4-ECDSA-P256-SHA256 Credential="+w.mine.AccessKey+"/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature="+strings.Repeat("0", 64))
		}},
		asker{"replayed too late", nil, true, func(t testing.TB, r *http.Request, body string) {
			setBody(r, body)
			r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
			require.NoError(t, newSigner().SignHTTP(ctx, keys(&w.mine), r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now().Add(-time.Hour)))
		}})
}

// TestMatrix: every route against every kind of caller in every place that carries a credential. Nobody does or learns
// anything without the permission that the route's line in the table names; and who is apart gets, for what is there and
// for what isn't, the same answer. Routes come from the table, so a new one has its row by being there.
func TestMatrix(t *testing.T) {
	w := newWorld(t)
	w.want(200, "PUT", "/bucket", "", nil)
	w.want(200, "PUT", "/bucket/key", "precious", nil)
	w.want(200, "PUT", "/bucket/source", "precious", nil)
	w.want(200, "PUT", "/bucket/elsewhere", "precious", nil)
	all := w.askers(t)
	before := w.state()
	refused, served := 0, 0
	for _, c := range all {
		ask := func(r route, path, source string) *httptest.ResponseRecorder {
			req, body := w.requestFor(r, path, source)
			c.sign(t, req, body)
			res := httptest.NewRecorder()
			w.srv.Config.Handler.ServeHTTP(res, req)
			return res
		}
		for _, r := range routes() {
			require.True(t, tenancy.RoleAdmin.Has(r.action), "%s names no permission that there is", r.name)
			reads := r.method == http.MethodGet || r.method == http.MethodHead
			if may := c.may != nil && c.may(r.action); may && !reads {
				continue // it would be done
			} else if may {
				res := ask(r, pathOf(r), "/bucket/source")
				// Some ask for more than the table says, and version 2 covers few: these show that who may is served.
				if slices.Contains([]string{"GetObject", "HeadObject", "ListObjects", "ListObjectsV2", "ListBuckets"}, r.name) {
					require.NotEqual(t, http.StatusForbidden, res.Code, "%s, %s: %s", r.name, c.name, res.Body)
					served++
				}
				continue
			}
			if r.level == service && c.apart {
				c := ask(r, pathOf(r), "")
				require.NotContains(t, c.Body.String(), "<Name>bucket</Name>")
				continue
			}
			res := ask(r, pathOf(r), "/bucket/source")
			refused++
			where := fmt.Sprintf("%s, %s: %d %s", r.name, c.name, res.Code, res.Body)
			require.NotContains(t, res.Body.String(), "precious", where)
			require.NotContains(t, res.Body.String(), "<Deleted>", where)
			require.Less(t, res.Code, 502, where)
			if r.name != "DeleteObjects" { // whose errors come key by key
				require.GreaterOrEqual(t, res.Code, 400, where)
			}
			if c.apart && r.name != "CreateBucket" { // names of buckets are unique on the node
				path := strings.Replace(pathOf(r), "/bucket", "/absent", 1)
				missing := ask(r, path, "/absent/source")
				require.Equal(t, missing.Code, res.Code, where)
				require.Equal(t, anonymised(missing.Body.String()), anonymised(res.Body.String()), where)
			}
		}
	}
	require.Equal(t, before, w.state(), "nothing has changed")
	t.Logf("%d askers, %d requests refused, %d served", len(all), refused, served)
}

// Who reads may list the parts of an upload, and nothing else of it.
func TestReadersListParts(t *testing.T) {
	w := newWorld(t)
	w.want(200, "PUT", "/bucket", "", nil)
	up := w.want(200, "POST", "/bucket/key?uploads", "", nil)
	_, rest, _ := strings.Cut(up, "<UploadId>")
	id, _, _ := strings.Cut(rest, "</UploadId>")
	reader := w.account("reader", tenancy.RoleReadOnly)
	ask := func(method, query, body string) *httptest.ResponseRecorder {
		req := httptest.NewRequest(method, w.srv.URL+"/bucket/key?uploadId="+id+query, nil)
		places[0].sign(t, req, &reader, body)
		res := httptest.NewRecorder()
		w.srv.Config.Handler.ServeHTTP(res, req)
		return res
	}
	res := ask("GET", "", "")
	require.Equal(t, 200, res.Code, res.Body)
	require.Contains(t, res.Body.String(), id)
	require.Equal(t, 403, ask("PUT", "&partNumber=1", "part").Code)
	require.Equal(t, 403, ask("DELETE", "", "").Code)
}

// The lifecycle of a suspended tenant waits, and nobody is told of it.
func TestLifecycleOfSuspendedTenant(t *testing.T) {
	w := newWorld(t)
	root := w.ten.As(tenancy.Root(tenancy.FirstTenant))
	_, _, err := root.CreateTenant(t.Context(), "gone", "")
	require.NoError(t, err)
	_, err = root.UpdateTenant(t.Context(), "gone", tenancy.TenantChange{Status: new(tenancy.Suspended)})
	require.NoError(t, err)
	gone, err := w.door.Expire(t.Context(), time.Hour)
	require.NoError(t, err)
	require.Zero(t, gone)
}
