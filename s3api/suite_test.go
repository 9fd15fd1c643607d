package s3api

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	static "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"k3fs/tenancy"
)

// The conformance suite walks every row of docs/s3.md by aws-sdk-go-v2, and by raw signed requests where the SDK can't
// send what is to be sent. Its tables are held against the table of routes: an action that is there must have a
// case that succeeds and one that is refused, as the door itself saw them, and each parameter that its route
// understands must have been sent in a request that succeeded.

// conform are the two cases of an action.
type conform struct {
	does    func(c *caller)
	refuses func(c *caller)
}

// conformance are the cases of every action that is there.
func conformance() map[string]conform {
	return merged(bucketCases, settingCases, listCases, objectCases, lockCases, uploadCases)
}

// mine is the tenant that the suite works as.
const mine = tenancy.FirstTenant

// caller is the SDK as the first tenant, on a bucket that this case alone uses. Its helpers fail the test.
type caller struct {
	*s3.Client
	*world
	ctx    context.Context
	bucket *string
	them   *s3.Client // as the other tenant
	nobody *s3.Client // unsigned
}

// sdk is a client of the door as somebody; nil is nobody.
func (w *world) sdk(cred *tenancy.Credentials) *s3.Client {
	o := s3.Options{BaseEndpoint: &w.srv.URL, UsePathStyle: true, Region: "us-east-1", RetryMaxAttempts: 1, Credentials: aws.AnonymousCredentials{},
		// What config.LoadDefaultConfig sets.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported, ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported}
	if cred != nil {
		o.Credentials = static.NewStaticCredentialsProvider(cred.AccessKey, cred.Secret, "")
	}
	return s3.New(o)
}

// caller makes a bucket for a case.
func (w *world) caller(t *testing.T, bucket string) *caller {
	w.t = t
	c := &caller{Client: w.sdk(&w.mine), world: w, ctx: t.Context(), bucket: &bucket, them: w.sdk(&w.them), nobody: w.sdk(nil)}
	c.path("PUT", "")
	return c
}

// path makes a raw request of the case's bucket that must succeed.
func (c *caller) path(method, rest string) string {
	c.t.Helper()
	status, text, _ := c.do(method, "/"+*c.bucket+rest, "", nil)
	require.Less(c.t, status, 300, text)
	return text
}

// must wants a request to have succeeded.
func must[T any](out T, err error) func(c *caller) T {
	return func(c *caller) T {
		c.t.Helper()
		require.NoError(c.t, err)
		return out
	}
}

// refused wants an error with a status and, where the SDK can see one, a code.
func (c *caller) refused(status int, code string, err error) {
	c.t.Helper()
	var re *awshttp.ResponseError
	require.True(c.t, errors.As(err, &re), "wanted %d %s: %v", status, code, err)
	require.Equal(c.t, status, re.HTTPStatusCode(), "wanted %s: %v", code, err)
	var api smithy.APIError
	if re.Response.Request.Method != http.MethodHead && status != http.StatusNotModified {
		require.True(c.t, errors.As(err, &api), "%v", err)
		require.Equal(c.t, code, api.ErrorCode())
	}
}

// object puts one, and returns its key.
func (c *caller) object(key, text string) *string {
	c.t.Helper()
	_, err := c.PutObject(c.ctx, &s3.PutObjectInput{Bucket: c.bucket, Key: &key, Body: strings.NewReader(text)})
	require.NoError(c.t, err)
	return &key
}

// text is an object's body.
func (c *caller) text(body io.ReadCloser) string {
	c.t.Helper()
	b, err := io.ReadAll(body)
	require.NoError(c.t, err)
	require.NoError(c.t, body.Close())
	return string(b)
}

// holds wants an object to have a content.
func (c *caller) holds(key, want string) {
	c.t.Helper()
	out, err := c.GetObject(c.ctx, &s3.GetObjectInput{Bucket: c.bucket, Key: &key})
	require.NoError(c.t, err)
	require.Equal(c.t, want, c.text(out.Body))
}

// observed is what the door saw of an action.
type observed struct {
	does, refuses int
	params        map[string]bool // of requests that succeeded
}

// watch remembers what the door did. One that is nil does not.
type watch struct {
	mu      sync.Mutex
	done    sync.Cond
	serving int
	all     []Request
}

func newWatch() *watch {
	s := &watch{}
	s.done.L = &s.mu
	return s
}

// begin notes that a request is being served, and returns what notes its end.
func (s *watch) begin() func() {
	if s == nil {
		return func() {}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.serving--; s.serving == 0 {
			s.done.Broadcast()
		}
	}
}

func (s *watch) add(r Request) {
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, r)
	}
}

// take returns what was served since the last time. A client has its answer a moment before the door is done with the
// request, so it waits for that.
func (s *watch) take() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.serving > 0 {
		s.done.Wait()
	}
	all := s.all
	s.all = nil
	return all
}

func observe(all []Request, action string) observed {
	o := observed{params: map[string]bool{}}
	for _, r := range all {
		if r.Operation != action {
			continue
		}
		if r.Status >= 300 {
			o.refuses++
			continue
		}
		o.does++
		u, err := url.ParseRequestURI(r.URI)
		if err != nil {
			continue
		}
		for name := range u.Query() {
			o.params[name] = true
		}
	}
	return o
}

// TestConformance: see above.
func TestConformance(t *testing.T) {
	w, cases, seen := newWorld(t), conformance(), newWatch()
	w.seen.Store(seen)
	for _, r := range routes() {
		t.Run(r.name, func(t *testing.T) {
			c, ok := cases[r.name]
			require.True(t, ok, "%s is in the table of routes, and has no case here", r.name)
			bucket := strings.ToLower(r.name)
			seen.take()
			t.Run("does", func(t *testing.T) { c.does(w.caller(t, bucket)) })
			did := observe(seen.take(), r.name)
			require.NotZero(t, did.does, "no request succeeded")
			for _, name := range strings.Fields(r.params) {
				require.True(t, did.params[name], "the parameter %s was not in any request that succeeded", name)
			}
			t.Run("refuses", func(t *testing.T) { c.refuses(w.caller(t, bucket+".no")) })
			require.NotZero(t, observe(seen.take(), r.name).refuses, "no request was refused")
		})
		delete(cases, r.name)
	}
	require.Empty(t, cases, "cases of actions that are not in the table of routes")
}

// TestConformanceAbsent: each action that is not there is answered with 501, and does nothing.
func TestConformanceAbsent(t *testing.T) {
	w := newWorld(t)
	c := w.caller(t, "bucket")
	c.object("key", "kept")
	there := map[string]bool{}
	for _, r := range routes() {
		there[r.name] = true
	}
	left := maps.Clone(absent)
	for line := range strings.SplitSeq(actions, "\n") {
		name, why, _ := strings.Cut(line, ": ")
		if there[name] || there[strings.TrimPrefix(why, "the old form of ")] {
			continue
		}
		t.Run(name, func(t *testing.T) {
			line, ok := left[name]
			require.True(t, ok, "%s is in docs/s3.md, and has no case here", name)
			method, target, _ := strings.Cut(line, " ")
			target, extra, _ := strings.Cut(target, " ")
			header := http.Header{}
			if name, value, ok := strings.Cut(extra, "="); ok {
				header.Set(name, value)
			}
			w.t = t
			w.refuse(501, "NotImplemented", method, target, "", header)
		})
		delete(left, name)
	}
	require.Empty(t, left, "cases of actions that docs/s3.md does not have")
	w.t = t
	c.holds("key", "kept")
}

// TestTheManualKnowsTheSDK: whatever aws-sdk-go-v2 can ask for is a row of docs/s3.md.
func TestTheManualKnowsTheSDK(t *testing.T) {
	rows := map[string]bool{}
	for line := range strings.SplitSeq(actions, "\n") {
		name, _, _ := strings.Cut(line, ": ")
		rows[name] = true
	}
	client := reflect.TypeFor[*s3.Client]()
	for i := range client.NumMethod() {
		if name := client.Method(i).Name; name != "Options" {
			require.True(t, rows[name], name)
		}
	}
}

// absent are requests for the actions that are not there, with a header that some have.
var absent = map[string]string{
	"CreateBucketMetadataConfiguration":                "POST /bucket?metadataConfiguration",
	"CreateBucketMetadataTableConfiguration":           "POST /bucket?metadataTable",
	"CreateSession":                                    "GET /bucket?session",
	"DeleteBucketAnalyticsConfiguration":               "DELETE /bucket?analytics&id=x",
	"DeleteBucketIntelligentTieringConfiguration":      "DELETE /bucket?intelligent-tiering&id=x",
	"DeleteBucketInventoryConfiguration":               "DELETE /bucket?inventory&id=x",
	"DeleteBucketMetadataConfiguration":                "DELETE /bucket?metadataConfiguration",
	"DeleteBucketMetadataTableConfiguration":           "DELETE /bucket?metadataTable",
	"DeleteBucketMetricsConfiguration":                 "DELETE /bucket?metrics&id=x",
	"DeleteBucketReplication":                          "DELETE /bucket?replication",
	"DeleteObjectAnnotation":                           "DELETE /bucket/key?annotation&annotationName=x",
	"GetBucketAbac":                                    "GET /bucket?abac",
	"GetBucketAnalyticsConfiguration":                  "GET /bucket?analytics&id=x&x-id=GetBucketAnalyticsConfiguration",
	"GetBucketIntelligentTieringConfiguration":         "GET /bucket?intelligent-tiering&id=x",
	"GetBucketInventoryConfiguration":                  "GET /bucket?inventory&id=x",
	"GetBucketMetadataConfiguration":                   "GET /bucket?metadataConfiguration",
	"GetBucketMetadataTableConfiguration":              "GET /bucket?metadataTable",
	"GetBucketMetricsConfiguration":                    "GET /bucket?metrics&id=x",
	"GetBucketReplication":                             "GET /bucket?replication",
	"GetObjectAnnotation":                              "GET /bucket/key?annotation&annotationName=x&x-id=GetObjectAnnotation",
	"GetObjectTorrent":                                 "GET /bucket/key?torrent",
	"ListBucketAnalyticsConfigurations":                "GET /bucket?analytics&x-id=ListBucketAnalyticsConfigurations",
	"ListBucketIntelligentTieringConfigurations":       "GET /bucket?intelligent-tiering",
	"ListBucketInventoryConfigurations":                "GET /bucket?inventory",
	"ListBucketMetricsConfigurations":                  "GET /bucket?metrics",
	"ListDirectoryBuckets":                             "GET /?x-id=ListDirectoryBuckets",
	"ListObjectAnnotations":                            "GET /bucket/key?annotation&x-id=ListObjectAnnotations",
	"PutBucketAbac":                                    "PUT /bucket?abac",
	"PutBucketAccelerateConfiguration":                 "PUT /bucket?accelerate",
	"PutBucketAnalyticsConfiguration":                  "PUT /bucket?analytics&id=x",
	"PutBucketIntelligentTieringConfiguration":         "PUT /bucket?intelligent-tiering&id=x",
	"PutBucketInventoryConfiguration":                  "PUT /bucket?inventory&id=x",
	"PutBucketLogging":                                 "PUT /bucket?logging",
	"PutBucketMetricsConfiguration":                    "PUT /bucket?metrics&id=x",
	"PutBucketNotification":                            "PUT /bucket?notification",
	"PutBucketNotificationConfiguration":               "PUT /bucket?notification",
	"PutBucketReplication":                             "PUT /bucket?replication",
	"PutObjectAnnotation":                              "PUT /bucket/key?annotation&annotationName=x",
	"RestoreObject":                                    "POST /bucket/key?restore",
	"SelectObjectContent":                              "POST /bucket/key?select&select-type=2",
	"UpdateBucketMetadataAnnotationTableConfiguration": "PUT /bucket?metadataAnnotationTable",
	"UpdateBucketMetadataInventoryTableConfiguration":  "PUT /bucket?metadataInventoryTable",
	"UpdateBucketMetadataJournalTableConfiguration":    "PUT /bucket?metadataJournalTable",
	"UpdateObjectEncryption":                           "PUT /bucket/key?encryption",
	"WriteGetObjectResponse":                           "POST /WriteGetObjectResponse X-Amz-Request-Route=x",
}

// rowsOf are the first cells of the table below a heading of docs/s3.md.
func rowsOf(t *testing.T, manual, heading string) (rows []string) {
	_, text, ok := strings.Cut(manual, heading)
	require.True(t, ok, heading)
	for line := range strings.SplitSeq(text, "\n") {
		cells := strings.Split(line, "|")
		switch {
		case len(cells) > 3:
			rows = append(rows, strings.TrimSpace(cells[1])+", "+strings.TrimSpace(cells[2]))
		case len(rows) > 0:
			return rows[2:]
		}
	}
	return nil
}
