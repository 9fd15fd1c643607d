package s3api

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/namespace"
	"k3fs/tenancy"
)

// as makes a request as somebody (nil: nobody), and expects a status.
func (w *world) as(cred *tenancy.Credentials, status int, method, target, body string, header http.Header) string {
	w.t.Helper()
	res := w.call(cred, method, target, body, header, nil)
	text := readAll(w.t, res)
	require.Equal(w.t, status, res.StatusCode, "%s %s: %s", method, target, text)
	return text
}

const aclsOn = `<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>`

// What a policy allows, it allows; what it denies, it denies to the owner too; and a bucket is hidden from others
// before and after.
func TestBucketPolicy(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket/public/a", "public", nil)
	w.want(200, http.MethodPut, "/bucket/private", "private", nil)
	w.want(404, http.MethodGet, "/bucket?policy", "", nil)
	w.as(&w.them, 404, http.MethodGet, "/bucket/public/a", "", nil)
	w.as(nil, 403, http.MethodGet, "/bucket/public/a", "", nil)

	w.want(400, http.MethodPut, "/bucket?policy", `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:Fly","Resource":"arn:aws:s3:::other"}]}`, nil)
	doc := `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/public/*"},
		{"Effect":"Allow","Principal":{"AWS":"` + w.theirs.AccountID() + `"},"Action":["s3:PutObject","s3:ListBucket"],"Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/drop/*"],
			"Condition":{"StringEqualsIfExists":{"s3:x-amz-acl":"private"}}},
		{"Effect":"Deny","Principal":"*","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::bucket/public/*"}]}`
	w.want(204, http.MethodPut, "/bucket?policy", doc, nil)
	require.Equal(t, doc, w.want(200, http.MethodGet, "/bucket?policy", "", nil))
	require.Contains(t, w.want(200, http.MethodGet, "/bucket?policyStatus", "", nil), "<IsPublic>true</IsPublic>")

	require.Equal(t, "public", w.as(nil, 200, http.MethodGet, "/bucket/public/a", "", nil))
	require.Equal(t, "public", w.as(&w.them, 200, http.MethodGet, "/bucket/public/a", "", nil))
	for _, who := range []*tenancy.Credentials{nil, &w.them} {
		w.as(who, 403, http.MethodGet, "/bucket/private", "", nil)
		status := 403 // a key of its own, which is not there: who may list the bucket is told
		if who != nil {
			status = 404
		}
		w.as(who, status, http.MethodGet, "/bucket/public/../private", "", nil)
		w.as(who, 403, http.MethodGet, "/bucket?policy", "", nil)
		w.as(who, 403, http.MethodDelete, "/bucket?policy", "", nil)
		w.as(who, 403, http.MethodDelete, "/bucket/public/a", "", nil)
		w.as(who, 403, http.MethodPut, "/bucket/public/a", "evil", nil)
	}
	w.as(nil, 403, http.MethodGet, "/bucket", "", nil)
	w.as(&w.them, 200, http.MethodGet, "/bucket", "", nil)
	w.as(&w.them, 200, http.MethodPut, "/bucket/drop/x", "theirs", nil)
	require.Equal(t, "theirs", w.want(200, http.MethodGet, "/bucket/drop/x", "", nil))
	w.want(403, http.MethodDelete, "/bucket/public/a", "", nil) // an explicit deny wins, also over the owner
	// Owners are the bucket's, whoever asks; and who expects another owner is refused.
	require.Contains(t, w.as(&w.them, 200, http.MethodGet, "/bucket?list-type=2&fetch-owner=true", "", nil), "<Owner><ID>"+mine.Canonical())
	for name, owner := range map[string]tenancy.TenantID{"mine": mine, "theirs": w.theirs} {
		header := h("x-amz-expected-bucket-owner", owner.AccountID())
		status := map[string]int{"mine": 200, "theirs": 403}[name]
		w.as(&w.them, status, http.MethodGet, "/bucket/public/a", "", header)
		w.as(nil, status, http.MethodGet, "/bucket/public/a", "", header)
		w.want(status, http.MethodGet, "/bucket/public/a", "", header)
		w.as(&w.them, 404, http.MethodGet, "/nobucket/k", "", header)
	}
	// A copy needs both ends: the source is read as who copies.
	w.as(&w.them, 200, http.MethodPut, "/theirs", "", nil)
	w.as(&w.them, 200, http.MethodPut, "/theirs/copy", "", http.Header{"X-Amz-Copy-Source": {"/bucket/public/a"}})
	require.Equal(t, "public", w.as(&w.them, 200, http.MethodGet, "/theirs/copy", "", nil), "sealed anew under their own key")
	w.as(&w.them, 403, http.MethodPut, "/theirs/copy", "", h("x-amz-copy-source", "/bucket/public/a", "x-amz-source-expected-bucket-owner", w.theirs.AccountID()))
	w.as(&w.them, 200, http.MethodPut, "/theirs/copy", "", h("x-amz-copy-source", "/bucket/public/a", "x-amz-source-expected-bucket-owner", mine.AccountID()))
	w.as(&w.them, 403, http.MethodPut, "/theirs/copy", "", http.Header{"X-Amz-Copy-Source": {"/bucket/private"}})
	w.as(&w.them, 404, http.MethodPut, "/theirs/copy", "", http.Header{"X-Amz-Copy-Source": {"/bucket/public/../private"}})
	w.as(&w.them, 403, http.MethodPut, "/bucket/public/a", "", http.Header{"X-Amz-Copy-Source": {"/theirs/copy"}})

	w.want(200, http.MethodPut, "/bucket?publicAccessBlock", `<PublicAccessBlockConfiguration><RestrictPublicBuckets>true</RestrictPublicBuckets><BlockPublicPolicy>true</BlockPublicPolicy></PublicAccessBlockConfiguration>`, nil)
	w.as(nil, 403, http.MethodGet, "/bucket/public/a", "", nil)
	w.want(403, http.MethodPut, "/bucket?policy", doc, nil)
	w.want(204, http.MethodDelete, "/bucket?publicAccessBlock", "", nil)
	w.as(nil, 200, http.MethodGet, "/bucket/public/a", "", nil)
	w.want(204, http.MethodDelete, "/bucket?policy", "", nil)
	w.as(&w.them, 404, http.MethodGet, "/bucket/public/a", "", nil)
	w.want(204, http.MethodDelete, "/bucket/public/a", "", nil)
}

// Listing is of the bucket, whatever part of it is listed: a Deny binds every prefix, through both doors.
func TestPolicyOnListings(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket/a/b/k", "x", nil)
	w.want(200, http.MethodPut, "/bucket/c/k", "x", nil)
	of := func(condition string) string {
		return `{"Statement":{"Effect":"Deny","Principal":"*","Action":["s3:ListBucket","s3:ListBucketVersions","s3:ListBucketMultipartUploads"],"Resource":"arn:aws:s3:::bucket"` + condition + `}}`
	}
	onMount := func(path ...string) error {
		ino := namespace.RootIno
		for _, name := range append([]string{"bucket"}, path...) {
			a, err := w.mount().Lookup(t.Context(), ino, name)
			if err != nil {
				return err
			}
			ino = a.Ino
		}
		_, err := w.mount().ReadDir(t.Context(), ino, "", 10, false)
		return err
	}
	require.NoError(t, onMount("a", "b"))
	w.want(204, http.MethodPut, "/bucket?policy", of(""), nil)
	for _, query := range []string{"", "prefix=a/", "list-type=2&prefix=a", "versions", "versions&prefix=a/", "uploads", "uploads&prefix=a/", "max-keys=0&prefix=a/"} {
		w.refuse(403, "AccessDenied", http.MethodGet, "/bucket?"+query, "", nil)
	}
	require.Error(t, onMount("a", "b"))
	w.want(204, http.MethodPut, "/bucket?policy", of(`,"Condition":{"StringLike":{"s3:prefix":"a/*"}}`), nil)
	w.refuse(403, "AccessDenied", http.MethodGet, "/bucket?prefix=a/b/", "", nil)
	w.want(200, http.MethodGet, "/bucket?prefix=c/", "", nil)
	require.Error(t, onMount("a", "b"))
	require.NoError(t, onMount("c"))
}

// A policy that denies everything can be taken back by the tenant's root, and by nobody else.
func TestPolicyThatLocksOut(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket/k", "x", nil)
	w.want(204, http.MethodPut, "/bucket?policy", `{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}}`, nil)
	w.want(403, http.MethodGet, "/bucket/k", "", nil)
	w.want(403, http.MethodDelete, "/bucket", "", nil)
	_, err := w.fs.As(tenancy.Root(tenancy.FirstTenant)).HeadObject(t.Context(), "bucket", "k", noOptions)
	require.Error(t, err, "the mount's door is bound by it too")
	w.want(204, http.MethodDelete, "/bucket?policy", "", nil)
	w.want(200, http.MethodGet, "/bucket/k", "", nil)
}

func TestACLs(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket/k", "x", nil)
	w.want(400, http.MethodPut, "/bucket?acl", "", http.Header{"X-Amz-Acl": {"public-read"}})
	require.Contains(t, w.want(200, http.MethodGet, "/bucket?ownershipControls", "", nil), "BucketOwnerEnforced")
	w.want(200, http.MethodPut, "/bucket?ownershipControls", aclsOn, nil)
	w.as(&w.them, 403, http.MethodGet, "/bucket/k", "", nil)

	w.want(200, http.MethodPut, "/bucket/k?acl", "", http.Header{"X-Amz-Acl": {"public-read"}})
	require.Equal(t, "x", w.as(nil, 200, http.MethodGet, "/bucket/k", "", nil))
	w.as(nil, 403, http.MethodGet, "/bucket", "", nil)
	w.as(nil, 403, http.MethodGet, "/bucket/absent", "", nil)
	w.as(nil, 403, http.MethodPut, "/bucket/k", "evil", nil)
	w.as(&w.them, 403, http.MethodGet, "/bucket/k?acl", "", nil)

	text := w.want(200, http.MethodGet, "/bucket/k?acl", "", nil)
	require.Contains(t, text, "AllUsers")
	w.want(200, http.MethodPut, "/bucket/k?acl", text, nil)
	require.Equal(t, text, w.want(200, http.MethodGet, "/bucket/k?acl", "", nil), "what is read can be written")

	grant := `<AccessControlPolicy xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><AccessControlList><Grant><Grantee xsi:type="CanonicalUser"><ID>` +
		w.theirs.Canonical() + `</ID></Grantee><Permission>WRITE</Permission></Grant></AccessControlList></AccessControlPolicy>`
	w.want(200, http.MethodPut, "/bucket?acl", grant, nil)
	w.as(&w.them, 200, http.MethodPut, "/bucket/drop", "theirs", http.Header{"X-Amz-Acl": {"bucket-owner-read"}})
	require.Contains(t, w.as(&w.them, 200, http.MethodGet, "/bucket/drop?acl", "", nil), "<ID>"+w.theirs.Canonical()+"</ID>")
	require.Equal(t, "theirs", w.as(&w.them, 200, http.MethodGet, "/bucket/drop", "", nil), "the writer owns what it wrote")
	w.as(&w.them, 403, http.MethodGet, "/bucket", "", nil)
	w.as(nil, 403, http.MethodPut, "/bucket/drop", "evil", nil)

	for _, bad := range []string{"<AccessControlPolicy/>", strings.Replace(grant, w.theirs.Canonical(), "nobody", 1), strings.Replace(grant, "WRITE", "FLY", 1),
		strings.Replace(grant, "<AccessControlList>", "<Owner><ID>"+w.theirs.Canonical()+"</ID></Owner><AccessControlList>", 1)} {
		status, text, _ := w.do(http.MethodPut, "/bucket?acl", bad, nil)
		require.GreaterOrEqual(t, status, 400, text)
		require.Less(t, status, 500, text)
	}
	w.want(400, http.MethodPut, "/bucket/k?acl", "", http.Header{"X-Amz-Acl": {"private"}, "X-Amz-Grant-Read": {`id="` + w.theirs.Canonical() + `"`}})
	w.want(200, http.MethodPut, "/bucket/k?acl", "", http.Header{"X-Amz-Grant-Read": {`id="` + w.theirs.Canonical() + `"`}})
	w.as(&w.them, 200, http.MethodGet, "/bucket/k", "", nil)
	w.as(nil, 403, http.MethodGet, "/bucket/k", "", nil)

	w.want(200, http.MethodPut, "/bucket?publicAccessBlock", `<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls></PublicAccessBlockConfiguration>`, nil)
	w.want(403, http.MethodPut, "/bucket/k?acl", "", http.Header{"X-Amz-Acl": {"public-read"}})
	w.want(403, http.MethodPut, "/bucket/new", "x", http.Header{"X-Amz-Acl": {"public-read"}})
	w.want(403, http.MethodPut, "/bucket?acl", "", http.Header{"X-Amz-Acl": {"public-read"}})
	w.want(400, http.MethodPut, "/bucket?ownershipControls", strings.Replace(aclsOn, "ObjectWriter", "BucketOwnerEnforced", 1), nil)
	w.want(200, http.MethodPut, "/bucket?acl", "", http.Header{"X-Amz-Acl": {"private"}})
	w.want(200, http.MethodPut, "/bucket?ownershipControls", strings.Replace(aclsOn, "ObjectWriter", "BucketOwnerEnforced", 1), nil)
	w.as(&w.them, 404, http.MethodGet, "/bucket/k", "", nil)
}

func TestBucketDocuments(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	for sub, c := range map[string]struct {
		put      int
		good     string
		says     string
		bad      []string
		fallback string
	}{
		"tagging": {204, `<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>`, "<Key>a</Key><Value>b</Value>",
			[]string{"", "<Tagging", `<Tagging><TagSet><Tag><Key></Key></Tag></TagSet></Tagging>`}, ""},
		"cors": {200, `<CORSConfiguration><CORSRule><AllowedOrigin>http://a</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>`, "http://a",
			[]string{"<CORSConfiguration/>", "<X/>"}, ""},
		"website": {200, `<WebsiteConfiguration><IndexDocument><Suffix>i.html</Suffix></IndexDocument></WebsiteConfiguration>`, "i.html",
			[]string{"<WebsiteConfiguration/>", `<WebsiteConfiguration><IndexDocument><Suffix>a/b</Suffix></IndexDocument></WebsiteConfiguration>`}, ""},
		"lifecycle": {200, `<LifecycleConfiguration><Rule><ID>r</ID><Filter><Prefix>x</Prefix></Filter><Status>Enabled</Status><Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>`, "<Days>3</Days>",
			[]string{"<LifecycleConfiguration/>", `<LifecycleConfiguration><Rule><Filter/><Status>On</Status></Rule></LifecycleConfiguration>`}, ""},
		"encryption": {200, `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`, "AES256",
			[]string{"<ServerSideEncryptionConfiguration/>"}, "AES256"},
	} {
		target := "/bucket?" + sub
		if c.fallback == "" {
			w.want(404, http.MethodGet, target, "", nil)
		}
		for _, bad := range c.bad {
			w.want(400, http.MethodPut, target, bad, nil)
		}
		w.want(c.put, http.MethodPut, target, c.good, nil)
		require.Contains(t, w.want(200, http.MethodGet, target, "", nil), c.says)
		w.as(&w.them, 404, http.MethodGet, target, "", nil)
		w.as(nil, 403, http.MethodGet, target, "", nil)
		w.want(204, http.MethodDelete, target, "", nil)
		w.want(204, http.MethodDelete, target, "", nil)
	}
	for _, sub := range []string{"requestPayment", "accelerate", "logging", "notification"} {
		w.want(200, http.MethodGet, "/bucket?"+sub, "", nil)
		w.as(&w.them, 404, http.MethodGet, "/bucket?"+sub, "", nil)
	}
}

func TestCORS(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket/k", "x", nil)
	ask := http.Header{"Origin": {"http://page"}, "Access-Control-Request-Method": {"PUT"}, "Access-Control-Request-Headers": {"content-type"}}
	w.as(nil, 403, http.MethodOptions, "/bucket/k", "", ask)
	w.as(nil, 403, http.MethodOptions, "/nobucket/k", "", ask)
	w.as(nil, 400, http.MethodOptions, "/bucket/k", "", nil)
	w.want(200, http.MethodPut, "/bucket?cors", `<CORSConfiguration><CORSRule><AllowedOrigin>http://page</AllowedOrigin><AllowedMethod>PUT</AllowedMethod><AllowedMethod>GET</AllowedMethod><AllowedHeader>*</AllowedHeader></CORSRule></CORSConfiguration>`, nil)
	res := w.call(nil, http.MethodOptions, "/bucket/k", "", ask, nil)
	require.Equal(t, 200, res.StatusCode, readAll(t, res))
	require.Equal(t, "http://page", res.Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "content-type", res.Header.Get("Access-Control-Allow-Headers"))
	ask.Set("Origin", "http://evil")
	w.as(nil, 403, http.MethodOptions, "/bucket/k", "", ask)
	// Errors can be read by the page too, and another origin is never reflected.
	for origin, want := range map[string]string{"http://page": "http://page", "http://evil": "", "null": ""} {
		for _, cred := range []*tenancy.Credentials{&w.mine, nil} {
			res := w.call(cred, http.MethodGet, "/bucket/k", "", http.Header{"Origin": {origin}}, nil)
			readAll(t, res)
			require.Equal(t, want, res.Header.Get("Access-Control-Allow-Origin"))
			require.Contains(t, res.Header.Get("Vary"), "Origin")
		}
	}
}

func TestWebsite(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	for key, text := range map[string]string{"index.html": "home", "docs/index.html": "docs", "404.html": "lost", "secret": "x"} {
		w.want(200, http.MethodPut, "/bucket/"+key, text, nil)
	}
	get := func(path string) (*http.Response, string) {
		res := w.call(nil, http.MethodGet, path, "", nil, func(r *http.Request) { r.Host = "bucket.web.example.com" })
		return res, readAll(t, res)
	}
	res, _ := get("/")
	require.Equal(t, 404, res.StatusCode)
	w.want(200, http.MethodPut, "/bucket?website", `<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument><ErrorDocument><Key>404.html</Key></ErrorDocument>
		<RoutingRules><RoutingRule><Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition><Redirect><ReplaceKeyPrefixWith>docs/</ReplaceKeyPrefixWith></Redirect></RoutingRule></RoutingRules></WebsiteConfiguration>`, nil)
	res, _ = get("/")
	require.Equal(t, 403, res.StatusCode, "a website is not public by itself")
	w.want(204, http.MethodPut, "/bucket?policy", `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":["arn:aws:s3:::bucket/*.html"]},
		{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket"}]}`, nil)
	for path, c := range map[string]struct {
		status int
		body   string
		to     string
	}{
		"/": {200, "home", ""}, "/docs/": {200, "docs", ""}, "/docs": {302, "", "/docs/"}, "/absent.html": {404, "lost", ""},
		"/old/x.html": {301, "", "http://bucket.web.example.com/docs/x.html"}, "/secret": {403, "lost", ""},
	} {
		res, text := get(path)
		require.Equal(t, c.status, res.StatusCode, path)
		require.Equal(t, c.body, text, path)
		require.Equal(t, c.to, res.Header.Get("Location"), path)
	}
	res = w.call(&w.mine, http.MethodPut, "/x", "x", nil, func(r *http.Request) { r.Host = "bucket.web.example.com" })
	require.Equal(t, 405, res.StatusCode, readAll(t, res))
}

// keyless is a namespace whose objects' keys are with a service that is away.
type keyless struct{ namespace.Objects }

func (k keyless) GetObject(ctx context.Context, bucket, key string, o namespace.ReadOptions) (namespace.ObjectReader, error) {
	r, err := k.Objects.GetObject(ctx, bucket, key, o)
	return unreadable{r}, err
}

type unreadable struct{ namespace.ObjectReader }

func (unreadable) WriteRange(context.Context, io.Writer, int64, int64) (int64, error) {
	return 0, &namespace.Error{Op: "read", Kind: namespace.Unavailable}
}

// While nobody can read an object, a page and an object are both a clear 503, of the same error.
func TestUnreadablePage(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket/index.html", "home", http.Header{"Cache-Control": {"max-age=600"}})
	w.want(200, http.MethodPut, "/bucket?website", `<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument><ErrorDocument><Key>index.html</Key></ErrorDocument></WebsiteConfiguration>`, nil)
	w.want(204, http.MethodPut, "/bucket?policy", `{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}}`, nil)
	as := w.door.o.As
	w.door.o.As = func(p tenancy.Principal) namespace.Objects { return keyless{as(p)} }
	for host, paths := range map[string]map[string]int{
		"bucket.web.example.com": {"/": 503, "/index.html": 503, "/absent": 404}, // whose error document can't be read either
		"bucket.s3.example.com":  {"/index.html": 503},
	} {
		for path, want := range paths {
			res := w.call(nil, http.MethodGet, path, "", nil, func(r *http.Request) { r.Host = host })
			text := readAll(t, res)
			require.Equal(t, want, res.StatusCode, "%s%s", host, path)
			require.Contains(t, text, "<Error>", "%s%s", host, path)
			require.Equal(t, int64(len(text)), res.ContentLength)
			require.Empty(t, res.Header.Get("Etag"))
			require.Empty(t, res.Header.Get("Cache-Control"))
		}
	}
	w.door.o.As = as
	res := w.call(nil, http.MethodHead, "/", "", nil, func(r *http.Request) { r.Host = "bucket.web.example.com" })
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, int64(4), res.ContentLength)
	require.Empty(t, readAll(t, res))
}

func TestVirtualHosts(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket/a/b", "x", nil)
	anyone := `{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}}`
	w.want(204, http.MethodPut, "/bucket?policy", anyone, nil)
	for _, host := range []string{"bucket.s3.example.com", "Bucket.S3.example.com:9000", "bucket.s3.example.com."} {
		host := strings.Replace(host, "Bucket", "bucket", 1)
		res := w.call(nil, http.MethodGet, "/a/b", "", nil, func(r *http.Request) { r.Host = host })
		require.Equal(t, "x", readAll(t, res), host)
		res = w.call(nil, http.MethodGet, "/?list-type=2", "", nil, func(r *http.Request) { r.Host = host })
		require.Contains(t, readAll(t, res), "<Key>a/b</Key>")
	}
	res := w.call(nil, http.MethodGet, "/bucket/a/b", "", nil, func(r *http.Request) { r.Host = "s3.example.com" })
	require.Equal(t, "x", readAll(t, res), "the path still works under the domain itself")
}
