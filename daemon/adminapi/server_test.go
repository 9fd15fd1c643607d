package adminapi_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/daemon/adminapi/adminv1/adminv1connect"
	"k3fs/tenancy"
)

// The same methods by gRPC, gRPC-Web and JSON, with buckets that only their tenant sees.
func TestProtocols(t *testing.T) {
	w := newWorld(t)
	for name, with := range map[string][]connect.ClientOption{"grpc": {connect.WithGRPC()}, "grpcweb": {connect.WithGRPCWeb()}, "json": {connect.WithProtoJSON()}, "connect": nil} {
		t.Run(name, func(t *testing.T) {
			c := adminv1connect.NewBucketServiceClient(w.client(w.root), w.srv.URL, with...)
			theirs := adminv1connect.NewBucketServiceClient(w.client(w.other), w.srv.URL, with...)
			_, err := c.CreateBucket(t.Context(), connect.NewRequest(&adminv1.CreateBucketRequest{Name: "of-" + name, Lock: true}))
			require.NoError(t, err)
			got, err := c.GetBucket(t.Context(), connect.NewRequest(&adminv1.GetBucketRequest{Name: "of-" + name}))
			require.NoError(t, err)
			require.Equal(t, adminv1.Versioning_VERSIONING_ENABLED, got.Msg.Bucket.Versioning)
			require.NotNil(t, got.Msg.Bucket.Lock)
			require.NotEmpty(t, got.Header().Get("X-Request-Id"))

			_, err = theirs.GetBucket(t.Context(), connect.NewRequest(&adminv1.GetBucketRequest{Name: "of-" + name}))
			code(t, connect.CodeNotFound, err)
			_, absent := theirs.GetBucket(t.Context(), connect.NewRequest(&adminv1.GetBucketRequest{Name: "of-nobody"}))
			require.Equal(t, strings.ReplaceAll(err.Error(), name, "nobody"), absent.Error())
			list, err := theirs.ListBuckets(t.Context(), connect.NewRequest(&adminv1.ListBucketsRequest{}))
			require.NoError(t, err)
			require.Empty(t, list.Msg.Buckets)
		})
	}
}

// An error has a code, a message, and in its details the reason and the request's id, also as plain JSON.
func TestErrorEnvelope(t *testing.T) {
	w := newWorld(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.srv.URL+adminv1connect.BucketServiceGetBucketProcedure, strings.NewReader(`{"name":"none"}`))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	res, err := w.client(w.root).Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusNotFound, res.StatusCode)
	var envelope struct {
		Code, Message string
		Details       []struct {
			Type  string
			Debug json.RawMessage
		}
	}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&envelope))
	require.Equal(t, "not_found", envelope.Code)
	require.Equal(t, `there is no bucket "none"`, envelope.Message)
	require.Len(t, envelope.Details, 2)
	require.Equal(t, "google.rpc.ErrorInfo", envelope.Details[0].Type)
	require.Equal(t, "google.rpc.RequestInfo", envelope.Details[1].Type)
	require.JSONEq(t, `{"requestId":"`+res.Header.Get("X-Request-Id")+`"}`, string(envelope.Details[1].Debug))

	_, err = adminv1connect.NewBucketServiceClient(w.client(w.root), w.srv.URL).GetBucket(t.Context(), connect.NewRequest(&adminv1.GetBucketRequest{Name: "none"}))
	var e *connect.Error
	require.ErrorAs(t, err, &e)
	detail, err := e.Details()[0].Value()
	require.NoError(t, err)
	require.Equal(t, "NoBucket", detail.(*errdetails.ErrorInfo).Reason)
}

// Objects, versions, holds and the audit log, each by way of the API.
func TestWalk(t *testing.T) {
	w := newWorld(t)
	h := w.client(w.root)
	buckets, objects := adminv1connect.NewBucketServiceClient(h, w.srv.URL), adminv1connect.NewObjectServiceClient(h, w.srv.URL)
	holds, audit := adminv1connect.NewHoldServiceClient(h, w.srv.URL), adminv1connect.NewAuditServiceClient(h, w.srv.URL)
	_, err := buckets.CreateBucket(t.Context(), connect.NewRequest(&adminv1.CreateBucketRequest{Name: "case", Versioning: true}))
	require.NoError(t, err)
	v := w.fs.As(tenancy.Root(tenancy.FirstTenant))
	for range 2 {
		_, err = v.CopyObject(t.Context(), "case", "a", "case", "a", copyOf(t, v))
		require.NoError(t, err)
	}

	shown, err := objects.GetObject(t.Context(), connect.NewRequest(&adminv1.GetObjectRequest{Bucket: "case", Key: "a"}))
	require.NoError(t, err)
	require.Equal(t, "file", shown.Msg.Object.Posix.Type)
	require.NotEmpty(t, shown.Msg.Object.Version)
	page, err := objects.ListVersions(t.Context(), connect.NewRequest(&adminv1.ListVersionsRequest{Bucket: "case", Key: "a", PageSize: 1}))
	require.NoError(t, err)
	require.Len(t, page.Msg.Versions, 1)
	require.NotEmpty(t, page.Msg.NextPageToken)

	placed, err := holds.PlaceHold(t.Context(), connect.NewRequest(&adminv1.PlaceHoldRequest{Bucket: "case", Reason: "case 7"}))
	require.NoError(t, err)
	_, err = objects.DeleteObject(t.Context(), connect.NewRequest(&adminv1.DeleteObjectRequest{Bucket: "case", Key: "a", Version: page.Msg.Versions[0].Id}))
	code(t, connect.CodeFailedPrecondition, err)
	report, err := holds.ReportHolds(t.Context(), connect.NewRequest(&adminv1.ReportHoldsRequest{}))
	require.NoError(t, err)
	require.Equal(t, placed.Msg.Hold.Id, report.Msg.Holds[0].Hold.Id)
	_, err = holds.ReleaseHold(t.Context(), connect.NewRequest(&adminv1.ReleaseHoldRequest{Id: placed.Msg.Hold.Id, Reason: "closed"}))
	require.NoError(t, err)
	_, err = objects.DeleteObject(t.Context(), connect.NewRequest(&adminv1.DeleteObjectRequest{Bucket: "case", Key: "a"}))
	require.NoError(t, err)
	restored, err := objects.RestoreVersion(t.Context(), connect.NewRequest(&adminv1.RestoreVersionRequest{Bucket: "case", Key: "a"}))
	require.NoError(t, err)
	require.Equal(t, page.Msg.Versions[0].Id, restored.Msg.Restored)

	head, err := audit.GetAuditHead(t.Context(), connect.NewRequest(&adminv1.GetAuditHeadRequest{Verify: true}))
	require.NoError(t, err)
	log, err := audit.ListAuditRecords(t.Context(), connect.NewRequest(&adminv1.ListAuditRecordsRequest{}))
	require.NoError(t, err)
	require.Len(t, log.Msg.Records, int(head.Msg.Head.Seq))
}

// Health and reflection are answered to anybody, and nothing else is.
func TestAnonymous(t *testing.T) {
	w := newWorld(t)
	post := func(path, body string) int {
		res, err := http.Post(w.srv.URL+path, "application/json", bytes.NewBufferString(body))
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, res.Body)
		require.NoError(t, res.Body.Close())
		return res.StatusCode
	}
	require.Equal(t, http.StatusOK, post("/grpc.health.v1.Health/Check", `{}`))
	require.Equal(t, http.StatusUnauthorized, post(adminv1connect.NodeServiceGetClockProcedure, `{}`))
	require.Equal(t, http.StatusNotFound, post("/k3fs.admin.v1.Nothing/Do", `{}`))
	require.Equal(t, http.StatusUnauthorized, post("/k3fs.admin.v1.NodeService/Nothing", `{}`))
}
