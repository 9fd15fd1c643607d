package adminapi_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/tenancy"
)

// Holds as curl has them, in JSON: placed, listed, shown, reported with what they cover, in force, and released.
func TestHoldsByJSON(t *testing.T) {
	w := newWorld(t)
	c := caller{client: w.client(w.root)}
	type hold struct {
		ID, Bucket, Prefix, Reason, CreatedBy, Created, Until, Period string
	}
	type answer struct {
		Hold  hold
		Holds json.RawMessage
	}
	ask := func(who caller, want int, method, body string) (a answer, code string) {
		t.Helper()
		status, code, text := w.post(who, "/k3fs.admin.v1."+method, body)
		require.Equal(t, want, status, text)
		if want == http.StatusOK {
			require.NoError(t, json.Unmarshal([]byte(text), &a))
		}
		return a, code
	}
	ask(c, 200, "BucketService/CreateBucket", `{"name":"case","versioning":true}`)
	copyOf(t, w.fs.As(tenancy.Root(tenancy.FirstTenant))) // makes "a"

	for _, bad := range []string{`{"bucket":"case"}`, `{"bucket":"case","reason":"r","until":"yesterday"}`, `{"bucket":"case","reason":"r","period":"-3s"}`,
		`{"prefix":"a","reason":"r"}`, `{"bucket":"case","reason":"r","until":"2020-01-01T00:00:00Z"}`} {
		_, code := ask(c, 400, "HoldService/PlaceHold", bad)
		require.Equal(t, "invalid_argument", code, bad)
	}
	first, _ := ask(c, 200, "HoldService/PlaceHold", `{"bucket":"case","prefix":"a","reason":"case 7"}`)
	require.NotEmpty(t, first.Hold.ID)
	require.NotEmpty(t, first.Hold.Created)
	want := hold{ID: first.Hold.ID, Created: first.Hold.Created, Bucket: "case", Prefix: "a", Reason: "case 7", CreatedBy: tenancy.RootAccount}
	require.Equal(t, want, first.Hold)
	second, _ := ask(c, 200, "HoldService/PlaceHold", `{"reason":"all of it","until":"2999-01-01T00:00:00Z"}`)
	require.Equal(t, "2262-04-11T23:47:16.854775807Z", second.Hold.Until, "what is stored: time reaches so far")
	third, _ := ask(c, 200, "HoldService/PlaceHold", `{"bucket":"case","prefix":"other/","reason":"nothing there","period":"3600s"}`)
	require.Equal(t, "3600s", third.Hold.Period)

	var listed []hold
	list := func() {
		all, _ := ask(c, 200, "HoldService/ListHolds", `{}`)
		listed = nil
		if all.Holds != nil {
			require.NoError(t, json.Unmarshal(all.Holds, &listed))
		}
	}
	list()
	require.ElementsMatch(t, []hold{first.Hold, second.Hold, third.Hold}, listed)
	one, _ := ask(c, 200, "HoldService/GetHold", `{"id":"`+first.Hold.ID+`"}`)
	require.Equal(t, want, one.Hold)
	report, _ := ask(c, 200, "HoldService/ReportHolds", `{}`)
	var uses []struct {
		Hold            hold
		Over            bool
		Versions, Bytes string // numbers of 64 bits are texts in protobuf's JSON
	}
	require.NoError(t, json.Unmarshal(report.Holds, &uses))
	versions := map[string]string{}
	for _, u := range uses {
		versions[u.Hold.Reason] = u.Versions
		require.False(t, u.Over)
	}
	require.Equal(t, "", versions["nothing there"])
	require.Equal(t, "1", versions["case 7"])

	// They hold until they are released, each by itself, with a reason, by its own tenant.
	erase := func(want int) {
		t.Helper()
		page, _, text := w.post(c, "/k3fs.admin.v1.ObjectService/ListVersions", `{"bucket":"case","key":"a"}`)
		require.Equal(t, 200, page, text)
		var all struct{ Versions []struct{ ID string } }
		require.NoError(t, json.Unmarshal([]byte(text), &all))
		require.Len(t, all.Versions, 1)
		ask(c, want, "ObjectService/DeleteObject", `{"bucket":"case","key":"a","version":"`+all.Versions[0].ID+`"}`)
	}
	release := func(who caller, want int, id, reason string) string {
		t.Helper()
		_, code := ask(who, want, "HoldService/ReleaseHold", `{"id":"`+id+`","reason":"`+reason+`"}`)
		return code
	}
	erase(400)
	require.Equal(t, "invalid_argument", release(c, 400, first.Hold.ID, ""))
	require.Equal(t, "not_found", release(caller{client: w.client(w.other)}, 404, first.Hold.ID, "mine"))
	release(c, 200, first.Hold.ID, "closed")
	require.Equal(t, "not_found", release(c, 404, first.Hold.ID, "closed"))
	erase(400)
	release(c, 200, second.Hold.ID, "closed")
	erase(200)
	release(c, 200, third.Hold.ID, "closed")
	list()
	require.Empty(t, listed)
}
