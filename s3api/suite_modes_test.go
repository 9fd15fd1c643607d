package s3api

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/tenancy"
)

// modeCases are the rows of docs/s3.md's "Who may ask, and how".
var modeCases = map[string]func(w *world){
	"Signature V4, `Authorization` header": func(w *world) {
		w.inPlace("v4 header, signed body")
		w.inPlace("v4 header, unsigned body")
		w.inPlace("v4 header, chunked body with trailer")
	},
	"Signature V4, query (presigned)": func(w *world) { w.inPlace("v4 query") },
	"Signature V4, form fields (POST Object)": func(w *world) {
		conditions := list(list("starts-with", "$key", "up/"))
		w.byForm(func() *upload { return w.form(conditions, [2]string{"key", "up/k"}) }, "x-amz-signature")
	},
	"Signature V2, header, query, form": func(w *world) {
		w.inPlace("v2 header")
		w.inPlace("v2 query")
		w.byForm(func() *upload {
			doc := fmt.Sprintf(`{"expiration":%q,"conditions":[{"bucket":"bucket"},["starts-with","$key","up/"]]}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
			policy := base64.StdEncoding.EncodeToString([]byte(doc))
			m := hmac.New(sha1.New, []byte(w.mine.Secret))
			m.Write([]byte(policy))
			return &upload{file: "content", fields: [][2]string{{"key", "up/k"}, {"AWSAccessKeyId", w.mine.AccessKey}, {"policy", policy},
				{"signature", base64.StdEncoding.EncodeToString(m.Sum(nil))}}}
		}, "signature")
	},
	"nobody, ": func(w *world) {
		w.want(200, "PUT", "/bucket/k", "x", nil)
		w.as(nil, 403, "GET", "/bucket/k", "", nil)
		w.want(204, "PUT", "/bucket?policy", `{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}}`, nil)
		require.Equal(w.t, "x", w.as(nil, 200, "GET", "/bucket/k", "", nil))
		w.as(nil, 403, "PUT", "/bucket/k", "evil", nil)
		w.as(nil, 403, "DELETE", "/bucket/k", "", nil)
		w.want(204, "DELETE", "/bucket?policy", "", nil)
	},
}

// inPlace writes, reads and deletes with the credential in a place, and is refused with another's, and a liar's.
func (w *world) inPlace(name string) {
	w.t.Helper()
	send := func(cred *tenancy.Credentials, method, body string) *httptest.ResponseRecorder {
		w.t.Helper()
		for _, p := range places {
			if p.name == name {
				req := httptest.NewRequest(method, "http://"+w.srv.Listener.Addr().String()+"/bucket/k", nil)
				p.sign(w.t, req, cred, body)
				res := httptest.NewRecorder()
				w.srv.Config.Handler.ServeHTTP(res, req)
				return res
			}
		}
		w.t.Fatal(name)
		return nil
	}
	require.Equal(w.t, 200, send(&w.mine, http.MethodPut, "content").Code, name)
	for who, c := range map[*tenancy.Credentials]int{&w.them: 404, {AccessKey: w.mine.AccessKey, Secret: "a lie"}: 403, {AccessKey: "AKIANOBODY000000", Secret: w.mine.Secret}: 403} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			require.Equal(w.t, c, send(who, method, "").Code, "%s %s", name, method)
		}
	}
	require.Equal(w.t, "content", send(&w.mine, http.MethodGet, "").Body.String(), name)
	require.Equal(w.t, 204, send(&w.mine, http.MethodDelete, "").Code, name)
}

// byForm posts a form, and is refused with another key, another policy, and another signature.
func (w *world) byForm(form func() *upload, signature string) {
	w.t.Helper()
	res, text := w.post(form())
	require.Equal(w.t, 204, res.StatusCode, text)
	require.Equal(w.t, "content", w.want(200, "GET", "/bucket/up/k", "", nil))
	for field, value := range map[string]string{"key": "outside", "policy": base64.StdEncoding.EncodeToString([]byte(`{"expiration":"2100-01-01T00:00:00Z","conditions":[]}`)), signature: strings.Repeat("0", 64)} {
		u := form()
		u.file = "evil"
		u.set(field, value)
		res, text := w.post(u)
		require.Equal(w.t, 403, res.StatusCode, text)
	}
	require.Equal(w.t, "content", w.want(200, "GET", "/bucket/up/k", "", nil))
	w.want(204, "DELETE", "/bucket/up/k", "", nil)
}

// TestConformanceOfModes: each row of "Who may ask, and how" in docs/s3.md lets in who it says, and nobody else.
func TestConformanceOfModes(t *testing.T) {
	manual, err := os.ReadFile("../docs/s3.md")
	require.NoError(t, err)
	w := newBucket(t)
	rows := rowsOf(t, string(manual), "## Who may ask, and how")
	for _, row := range rows {
		t.Run(row, func(t *testing.T) {
			c, ok := modeCases[row]
			require.True(t, ok, "%q is in docs/s3.md, and has no case here", row)
			w.t = t
			c(w)
		})
	}
	require.Len(t, modeCases, len(rows))
}
