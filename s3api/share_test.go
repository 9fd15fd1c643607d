package s3api

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/tenancy"
)

// link makes a link of the first tenant's account to an object.
func (w *world) link(account string, n tenancy.NewShare) tenancy.ShareLink {
	w.t.Helper()
	p := tenancy.Root(tenancy.FirstTenant)
	if account != tenancy.RootAccount {
		var err error
		p, err = w.ten.Federated(w.t.Context(), "default", account)
		require.NoError(w.t, err)
	}
	l, err := w.ten.Share(w.t.Context(), p, n)
	require.NoError(w.t, err)
	return l
}

func query(l tenancy.ShareLink) url.Values {
	q := url.Values{tenancy.ShareToken: {l.Token}, tenancy.ShareExpires: {l.Until}, tenancy.ShareOrg: {l.Org}}
	if l.Version != "" {
		q.Set("versionId", l.Version)
	}
	return q
}

func (w *world) follow(method, path string, q url.Values) (int, string) {
	w.t.Helper()
	res := w.call(nil, method, path+"?"+q.Encode(), "", nil, nil)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	return res.StatusCode, string(b)
}

func TestShareLinks(t *testing.T) {
	w := newWorld(t)
	w.want(200, "PUT", "/bucket", "", nil)
	w.want(200, "PUT", "/bucket/a/key%20ü", "data", nil)
	w.want(200, "PUT", "/bucket/other", "secret", nil)
	w.account("reader", tenancy.RoleReadOnly)
	l := w.link("reader", tenancy.NewShare{Bucket: "bucket", Key: "a/key ü", Life: time.Hour})
	good := query(l)
	path := "/bucket/a/key%20%C3%BC"
	status, body := w.follow("GET", path, good)
	require.Equal(t, 200, status)
	require.Equal(t, "data", body)
	status, _ = w.follow("HEAD", path, good)
	require.Equal(t, 200, status)

	_, denied := w.follow("GET", path, with(good, tenancy.ShareToken, strings.Repeat("A", len(l.Token))))
	for name, tt := range map[string]struct {
		method, path string
		q            url.Values
	}{
		"another object":      {"GET", "/bucket/other", good},
		"an object not there": {"GET", "/bucket/nothing", good},
		"another bucket":      {"GET", "/bucket2/a/key%20%C3%BC", good},
		"the bucket":          {"GET", "/bucket", good},
		"writing":             {"PUT", path, good},
		"deleting":            {"DELETE", path, good},
		"posting":             {"POST", path, good},
		"its tags":            {"GET", path, with(good, "tagging", "")},
		"its acl":             {"GET", path, with(good, "acl", "")},
		"attributes":          {"GET", path, with(good, "attributes", "")},
		"another header":      {"GET", path, with(good, "response-content-type", "text/html")},
		"another version":     {"GET", path, with(good, "versionId", "null")},
		"longer":              {"GET", path, with(good, tenancy.ShareExpires, "99999999999")},
		"another time":        {"GET", path, with(good, tenancy.ShareExpires, l.Until+"0")},
		"another org":         {"GET", path, with(good, tenancy.ShareOrg, "000000000002")},
		"an org not there":    {"GET", path, with(good, tenancy.ShareOrg, "000000000099")},
		"org in short":        {"GET", path, with(good, tenancy.ShareOrg, "1")},
		"no org":              {"GET", path, without(good, tenancy.ShareOrg)},
		"no time":             {"GET", path, without(good, tenancy.ShareExpires)},
		"no token":            {"GET", path, without(good, tenancy.ShareToken)},
		"token twice":         {"GET", path, url.Values{tenancy.ShareToken: {l.Token, l.Token}, tenancy.ShareExpires: {l.Until}, tenancy.ShareOrg: {l.Org}}},
		"another spelling":    {"GET", path, url.Values{"x-k3-token": {l.Token}, "x-k3-expires": {l.Until}, "x-k3-org": {l.Org}}},
	} {
		status, body := w.follow(tt.method, tt.path, tt.q)
		require.Equal(t, 403, status, name)
		if tt.method == "GET" {
			require.Equal(t, anonymised(denied), anonymised(body), name)
		}
	}
	for i := range len(l.Token) {
		forged := []byte(l.Token)
		forged[i] ^= 1
		status, _ := w.follow("GET", path, with(good, tenancy.ShareToken, string(forged)))
		require.Equal(t, 403, status)
	}
	res := w.call(&w.mine, "GET", path+"?"+good.Encode(), "", nil, nil)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 400, res.StatusCode, "two mechanisms")
}

func with(q url.Values, name, value string) url.Values {
	c := url.Values{}
	for k, v := range q {
		c[k] = v
	}
	c.Set(name, value)
	return c
}

func without(q url.Values, name string) url.Values {
	c := with(q, name, "")
	c.Del(name)
	return c
}

// anonymised is an error's document without what differs from one request to the next.
func anonymised(body string) string {
	for _, tag := range []string{"RequestId", "HostId", "Resource", "BucketName", "Key"} {
		for {
			before, rest, ok := strings.Cut(body, "<"+tag+">")
			_, after, closed := strings.Cut(rest, "</"+tag+">")
			if !ok || !closed {
				break
			}
			body = before + after
		}
	}
	return body
}

// A link does what its account may do when it is used, and ends with it.
func TestShareLinksEnd(t *testing.T) {
	ask := func(w *world, l tenancy.ShareLink) int {
		status, _ := w.follow(http.MethodGet, "/bucket/key", query(l))
		return status
	}
	for name, end := range map[string]func(w *world, as *tenancy.Admin, l tenancy.ShareLink) error{
		"revoked": func(w *world, as *tenancy.Admin, l tenancy.ShareLink) error {
			return as.RevokeShare(w.t.Context(), l.ID)
		},
		"all revoked": func(w *world, as *tenancy.Admin, _ tenancy.ShareLink) error { return as.RevokeShares(w.t.Context()) },
		"account disabled": func(w *world, as *tenancy.Admin, _ tenancy.ShareLink) error {
			_, err := as.UpdateAccount(w.t.Context(), "reader", tenancy.AccountChange{Disabled: new(true)})
			return err
		},
		"account deleted": func(w *world, as *tenancy.Admin, _ tenancy.ShareLink) error {
			return as.DeleteAccount(w.t.Context(), "reader")
		},
		"sessions ended": func(w *world, as *tenancy.Admin, _ tenancy.ShareLink) error {
			return as.EndSessions(w.t.Context(), "reader")
		},
		"another role": func(w *world, as *tenancy.Admin, _ tenancy.ShareLink) error {
			_, err := as.UpdateAccount(w.t.Context(), "reader", tenancy.AccountChange{Role: new(tenancy.RoleOperator)})
			return err
		},
		"time": func(w *world, _ *tenancy.Admin, _ tenancy.ShareLink) error {
			w.ahead.Store(int64(2 * time.Hour))
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.want(200, "PUT", "/bucket", "", nil)
			w.want(200, "PUT", "/bucket/key", "data", nil)
			w.account("reader", tenancy.RoleReadOnly)
			l := w.link("reader", tenancy.NewShare{Bucket: "bucket", Key: "key"})
			require.Equal(t, 200, ask(w, l))
			as := w.ten.As(tenancy.Root(tenancy.FirstTenant))
			all, _, err := as.Shares(t.Context(), "", 0)
			require.NoError(t, err)
			require.Len(t, all, 1)
			require.NoError(t, end(w, as, l))
			require.Equal(t, 403, ask(w, l))
			if name == "all revoked" {
				require.Equal(t, 200, ask(w, w.link("reader", tenancy.NewShare{Bucket: "bucket", Key: "key"})), "new links count")
			}
		})
	}
}

func TestShareLinkOfAVersion(t *testing.T) {
	w := newWorld(t)
	w.want(200, "PUT", "/bucket", "", nil)
	w.want(200, "PUT", "/bucket?versioning", `<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`, nil)
	_, _, h := w.do("PUT", "/bucket/key", "first", nil)
	w.want(200, "PUT", "/bucket/key", "second", nil)
	l := w.link(tenancy.RootAccount, tenancy.NewShare{Bucket: "bucket", Key: "key", Version: h.Get("X-Amz-Version-Id")})
	status, body := w.follow("GET", "/bucket/key", query(l))
	require.Equal(t, 200, status)
	require.Equal(t, "first", body)
	status, _ = w.follow("GET", "/bucket/key", without(query(l), "versionId"))
	require.Equal(t, 403, status)
}

func FuzzShareClaim(f *testing.F) {
	w := newWorld(f)
	l := w.link(tenancy.RootAccount, tenancy.NewShare{Bucket: "bucket", Key: "key"})
	f.Add("bucket", "key", "", l.Token, l.Until, l.Org)
	f.Fuzz(func(t *testing.T, bucket, key, version, token, until, org string) {
		p, err := w.ten.Shared(t.Context(), tenancy.ShareClaim{Bucket: bucket, Key: key, Version: version, Token: token, Expires: until, Org: org})
		if err == nil && (bucket != "bucket" || key != "key" || version != "" || token != l.Token || until != l.Until || org != l.Org) || err != nil && p != (tenancy.Principal{}) {
			t.Fatalf("%q %q %q %q %q %q: %v", bucket, key, version, token, until, org, err)
		}
	})
}

func FuzzBearerHeader(f *testing.F) {
	f.Add("Bearer x", "X-K3-Token=x")
	f.Add("bearer\tx", "x%2dk3-org")
	f.Fuzz(func(t *testing.T, header, rawQuery string) {
		token, ok := BearerToken(http.Header{"Authorization": {header}})
		if ok && (strings.Contains(token, " ") && !strings.Contains(header, " ") || !strings.EqualFold(strings.Trim(header, " \t")[:6], "bearer")) {
			t.Fatalf("%q", header)
		}
		if q, err := url.ParseQuery(rawQuery); err == nil && q.Has(tenancy.ShareToken) && !isShared(rawQuery) {
			t.Fatalf("%q", rawQuery)
		}
	})
}
