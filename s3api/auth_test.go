package s3api

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/require"

	"k3fs/tenancy"
)

// pathOf is a request path for a route.
func pathOf(r route) string {
	p := []string{"/", "/bucket", "/bucket/key"}[r.level]
	var q []string
	for _, name := range strings.Fields(r.sub) {
		q = append(q, name+"="+map[string]string{"list-type": "2", "partNumber": "1", "uploadId": "x"}[name])
	}
	if len(q) > 0 {
		p += "?" + strings.Join(q, "&")
	}
	return p
}

// bodies are documents that the actions which need one take.
var bodies = map[string]string{
	"PutObjectAcl":                    "<AccessControlPolicy><AccessControlList/></AccessControlPolicy>",
	"PutBucketAcl":                    "<AccessControlPolicy><AccessControlList/></AccessControlPolicy>",
	"DeleteObjects":                   "<Delete><Object><Key>key</Key></Object></Delete>",
	"PutObjectTagging":                "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
	"PutBucketTagging":                "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
	"CompleteMultipartUpload":         "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
	"PutBucketPolicy":                 `{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}}`,
	"PutBucketOwnershipControls":      "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>",
	"PutPublicAccessBlock":            "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>",
	"PutBucketCors":                   "<CORSConfiguration><CORSRule><AllowedOrigin>http://a</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>",
	"PutBucketEncryption":             "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
	"PutBucketWebsite":                "<WebsiteConfiguration><IndexDocument><Suffix>i.html</Suffix></IndexDocument></WebsiteConfiguration>",
	"PutBucketLifecycleConfiguration": "<LifecycleConfiguration><Rule><Filter><Prefix>x/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>9</Days></Expiration></Rule></LifecycleConfiguration>",
	"PutBucketRequestPayment":         "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>",
	"PutBucketVersioning":             "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
	"PutObjectLockConfiguration":      "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>",
	"PutObjectLegalHold":              "<LegalHold><Status>ON</Status></LegalHold>",
	"PutObjectRetention":              "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2100-01-01T00:00:00Z</RetainUntilDate></Retention>",
}

// Every route refuses everyone but the bucket's own tenant, however the request is spoilt, and changes nothing.
func TestEveryRouteFailsClosed(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket/key", "precious", nil)
	stranger := &tenancy.Credentials{AccessKey: "AKIANOBODY000000", Secret: "whatever-whatever-whatever-whatever-1234"}
	liar := &tenancy.Credentials{AccessKey: w.mine.AccessKey, Secret: w.mine.Secret + "x"}
	for _, r := range routes() {
		body := bodies[r.name]
		header := http.Header{"X-Amz-Object-Attributes": {"ETag"}}
		switch r.header {
		case "":
		case writeOffset:
			header.Set(r.header, "0")
		default:
			header.Set(r.header, "/bucket/source")
		}
		for _, spoilt := range []struct {
			name   string
			cred   *tenancy.Credentials
			code   string
			change func(*http.Request)
		}{
			{"anonymous", nil, "AccessDenied", nil},
			{"unknown key", stranger, "InvalidAccessKeyId", nil},
			{"wrong secret", liar, "SignatureDoesNotMatch", nil},
			{"signature bit", &w.mine, "SignatureDoesNotMatch", func(r *http.Request) {
				a := []byte(r.Header.Get("Authorization"))
				if a[len(a)-1]++; a[len(a)-1] == 'g' || a[len(a)-1] == ':' {
					a[len(a)-1] = '0'
				}
				r.Header.Set("Authorization", string(a))
			}},
			{"other path", &w.mine, "SignatureDoesNotMatch", func(r *http.Request) { r.URL.Path += "x" }},
			{"other query", &w.mine, "SignatureDoesNotMatch", func(r *http.Request) { r.URL.RawQuery += "&prefix=a" }},
			{"other method", &w.mine, "SignatureDoesNotMatch", func(r *http.Request) {
				r.Method = map[bool]string{true: http.MethodGet, false: http.MethodDelete}[r.Method == http.MethodDelete]
			}},
			{"header added", &w.mine, "AccessDenied", func(r *http.Request) { r.Header.Set("X-Amz-Meta-Evil", "1") }},
			{"two mechanisms", &w.mine, "InvalidArgument", func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Signature=0" }},
			{"old date", &w.mine, "", func(r *http.Request) { r.Header.Set("X-Amz-Date", "20200101T000000Z") }},
			{"garbage", nil, "", func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 nonsense") }},
		} {
			t.Run(r.name+"/"+spoilt.name, func(t *testing.T) {
				res := w.call(spoilt.cred, r.method, pathOf(r), body, header, spoilt.change)
				defer res.Body.Close()
				require.GreaterOrEqual(t, res.StatusCode, 400)
				require.Less(t, res.StatusCode, 500)
				if r.name == "PostObject" && spoilt.cred == nil {
					return // its credentials are in the form, see TestPostObject
				}
				if spoilt.code != "" && res.Request.Method != http.MethodHead && r.method != http.MethodHead {
					require.Equal(t, spoilt.code, code(res.Body))
				}
			})
		}
		if r.level == service {
			continue
		}
		t.Run(r.name+"/other tenant", func(t *testing.T) {
			there := w.call(&w.them, r.method, pathOf(r), body, header, nil)
			defer there.Body.Close()
			require.GreaterOrEqual(t, there.StatusCode, 400, "another tenant's bucket")
			if r.name == "CreateBucket" {
				require.Equal(t, http.StatusConflict, there.StatusCode)
				return
			}
			// A foreign bucket answers exactly as one that does not exist.
			header = header.Clone()
			if r.header != "" && r.header != writeOffset {
				header.Set(r.header, "/nobucket/source")
			}
			missing := w.call(&w.them, r.method, strings.Replace(pathOf(r), "bucket", "nobucket", 1), body, header, nil)
			defer missing.Body.Close()
			require.Equal(t, missing.StatusCode, there.StatusCode)
			require.Equal(t, code(missing.Body), code(there.Body))
		})
	}
	require.Equal(t, "precious", w.want(200, http.MethodGet, "/bucket/key", "", nil))
	require.NotContains(t, readAll(t, w.call(&w.them, http.MethodGet, "/", "", nil, nil)), "bucket</Name>")
}

// presign makes a presigned request; change, if not nil, is applied after signing.
func (w *world) presign(cred *tenancy.Credentials, r route, header http.Header, change func(*http.Request)) *http.Response {
	w.t.Helper()
	req, err := http.NewRequest(r.method, w.srv.URL+pathOf(r), nil)
	require.NoError(w.t, err)
	q := req.URL.Query()
	q.Set("X-Amz-Expires", "60")
	req.URL.RawQuery = q.Encode()
	for k, v := range header {
		req.Header[k] = v
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	signed, _, err := signer.PresignHTTP(context.Background(), aws.Credentials{AccessKeyID: cred.AccessKey, SecretAccessKey: cred.Secret},
		req, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now())
	require.NoError(w.t, err)
	if req.URL, err = url.Parse(signed); err != nil {
		require.NoError(w.t, err)
	}
	if change != nil {
		change(req)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(w.t, err)
	return res
}

// Every route refuses a presigned URL that was changed, in every part of it, or that has expired.
func TestEveryRouteRefusesSpoiltURLs(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket/key", "precious", nil)
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) {
			q := r.URL.Query()
			q.Set(name, value)
			r.URL.RawQuery = q.Encode()
		}
	}
	for _, r := range routes() {
		header := http.Header{}
		if r.header != "" {
			header.Set(r.header, "/bucket/source")
		}
		for name, change := range map[string]func(*http.Request){
			"signature":      set("X-Amz-Signature", strings.Repeat("0", 64)),
			"expiry":         set("X-Amz-Expires", "61"),
			"endless":        set("X-Amz-Expires", "604801"),
			"never":          set("X-Amz-Expires", "0"),
			"date":           set("X-Amz-Date", "20200101T000000Z"),
			"credential":     set("X-Amz-Credential", "AKIANOBODY000000/20260101/us-east-1/s3/aws4_request"),
			"algorithm":      set("X-Amz-Algorithm", "AWS4-HMAC-SHA1"),
			"signed headers": set("X-Amz-SignedHeaders", "host;x-amz-date"),
			"parameter":      set("prefix", "other"),
			"token":          set("X-Amz-Security-Token", "x"),
			"path":           func(r *http.Request) { r.URL.Path += "x" },
			"method": func(r *http.Request) {
				r.Method = map[bool]string{true: http.MethodGet, false: http.MethodDelete}[r.Method == http.MethodDelete]
			},
			"unsigned header": func(r *http.Request) { r.Header.Set("X-Amz-Meta-Evil", "1") },
			"header too":      func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 x") },
		} {
			t.Run(r.name+"/"+name, func(t *testing.T) {
				res := w.presign(&w.mine, r, header, change)
				defer res.Body.Close()
				require.GreaterOrEqual(t, res.StatusCode, 400)
				require.Less(t, res.StatusCode, 500)
			})
		}
		if r.level == service || r.name == "CreateBucket" {
			continue
		}
		t.Run(r.name+"/other tenant", func(t *testing.T) {
			res := w.presign(&w.them, r, header, nil)
			defer res.Body.Close()
			require.GreaterOrEqual(t, res.StatusCode, 400)
		})
	}
	require.Equal(t, "precious", w.want(200, http.MethodGet, "/bucket/key", "", nil))
	res := w.presign(&w.mine, route{method: http.MethodGet, level: object}, nil, nil)
	require.Equal(t, "precious", readAll(t, res), "an unspoilt URL is served")
}

func readAll(t testing.TB, res *http.Response) string {
	t.Helper()
	defer res.Body.Close()
	return readBody(res)
}
