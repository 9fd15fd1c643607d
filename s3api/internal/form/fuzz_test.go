package form

import (
	"encoding/base64"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/s3api/internal/s3err"
)

func typed(t *testing.T, err error) {
	t.Helper()
	if err != nil && err != io.EOF {
		var e *s3err.Error
		require.ErrorAs(t, err, &e)
		require.NotEmpty(t, e.Code)
	}
}

// FuzzForm: a hostile form ends in a typed error or is read; its fields are bounded.
func FuzzForm(f *testing.F) {
	f.Add("--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a/b\"\r\n\r\ndata\r\n--b--\r\n", "multipart/form-data; boundary=b")
	f.Add("--b\r\n\r\n\r\n--b--", "multipart/form-data; boundary=b")
	f.Add("--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\ncut", "multipart/form-data; boundary=b")
	f.Fuzz(func(t *testing.T, body, kind string) {
		r := httptest.NewRequest("POST", "/b", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		form, err := Read(r)
		typed(t, err)
		if err != nil {
			return
		}
		size := 0
		for name := range form.Fields {
			require.Equal(t, strings.ToLower(name), name)
			size += len(name)
		}
		require.LessOrEqual(t, size, maxFields)
		_, err = io.ReadAll(form.File)
		typed(t, err)
	})
}

// FuzzPolicy: a hostile policy ends in a typed error; one that is accepted covers every field it lets pass.
func FuzzPolicy(f *testing.F) {
	f.Add(`{"expiration":"2100-01-01T00:00:00Z","conditions":[{"bucket":"b"},["starts-with","$key","u/"],["content-length-range",1,9]]}`, "key", "u/x")
	f.Add(`{"expiration":"2100-01-01T00:00:00Z","conditions":[{"x":null},[],7]}`, "x-amz-meta-a", "b")
	f.Fuzz(func(t *testing.T, doc, field, value string) {
		p, err := ParsePolicy(base64.StdEncoding.EncodeToString([]byte(doc)))
		typed(t, err)
		if err != nil {
			return
		}
		field = strings.ToLower(field)
		err = p.Check(time.Unix(0, 0), "b", map[string]string{field: value})
		typed(t, err)
		if err == nil && strings.HasPrefix(field, "x-amz-meta-") {
			covered := false
			for _, c := range p.conditions {
				covered = covered || c.field == field && strings.HasPrefix(value, c.value)
			}
			require.True(t, covered, "an extra field passed")
		}
		_, err = io.ReadAll(p.Limit(strings.NewReader(value)))
		typed(t, err)
		if err == nil {
			require.GreaterOrEqual(t, int64(len(value)), p.Min)
			require.True(t, p.Max < 0 || int64(len(value)) <= p.Max)
		}
	})
}
