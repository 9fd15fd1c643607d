package s3api

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Passing governance retention needs the header and the permission, and an explicit denial wins: of the bucket's owner,
// who has it, and of another tenant's account, to which a bucket's policy alone can't give it.
func TestBypassTable(t *testing.T) {
	const owner, other = "owner", "other"
	statement := func(effect, principal string, actions ...string) map[string]any {
		return map[string]any{"Effect": effect, "Principal": map[string]string{"AWS": principal}, "Action": actions, "Resource": "arn:aws:s3:::bucket/*"}
	}
	for _, c := range []struct {
		who                   string
		header, allowed, deny bool
		passes                bool
	}{
		{owner, false, true, false, false},
		{owner, true, true, false, true},
		{owner, true, true, true, false},
		{owner, false, true, true, false},
		{other, false, false, false, false},
		{other, true, false, false, false},
		{other, false, true, false, false},
		{other, true, true, false, false}, // the account's own role has to have it, too
		{other, true, true, true, false},
		{other, true, false, true, false},
	} {
		w := newWorld(t)
		w.want(200, "PUT", "/bucket", "", h("x-amz-bucket-object-lock-enabled", "true"))
		until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		version := w.headers(200, "PUT", "/bucket/k", "kept", h("x-amz-object-lock-mode", "GOVERNANCE", "x-amz-object-lock-retain-until-date", until)).Get("X-Amz-Version-Id")
		cred, principal := &w.mine, "*"
		statements := []any{}
		if c.who == other {
			cred, principal = &w.them, w.theirs.AccountID()
			statements = append(statements, statement("Allow", principal, "s3:DeleteObjectVersion", "s3:PutObjectRetention"))
			if c.allowed {
				statements = append(statements, statement("Allow", principal, "s3:BypassGovernanceRetention"))
			}
		}
		if c.deny {
			statements = append(statements, statement("Deny", principal, "s3:BypassGovernanceRetention"))
		}
		if len(statements) > 0 {
			doc, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
			require.NoError(t, err)
			w.want(204, "PUT", "/bucket?policy", string(doc), nil)
		}
		var header http.Header
		if c.header {
			header = h("x-amz-bypass-governance-retention", "true")
		}
		shorten, remove := 403, 403
		if c.passes {
			shorten, remove = 200, 204
		}
		sooner := `<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>` + time.Now().Add(time.Minute).UTC().Format(time.RFC3339) + `</RetainUntilDate></Retention>`
		w.as(cred, shorten, "PUT", "/bucket/k?retention&versionId="+version, sooner, header)
		w.as(cred, remove, "DELETE", "/bucket/k?versionId="+version, "", header)
		if !c.passes {
			require.Equal(t, "kept", w.want(200, "GET", "/bucket/k?versionId="+version, "", nil), "%+v", c)
		}
	}
}

// The lock headers of each action that makes an object, and what reads show of a lock, to whom.
func TestLockHeaders(t *testing.T) {
	w := newWorld(t)
	w.want(200, "PUT", "/bucket", "", h("x-amz-bucket-object-lock-enabled", "true"))
	w.want(200, "PUT", "/plain", "", nil)
	w.want(200, "PUT", "/plain/source", "x", nil)
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	lock := []string{"x-amz-object-lock-mode", "COMPLIANCE", "x-amz-object-lock-retain-until-date", until, "x-amz-object-lock-legal-hold", "ON"}
	make := map[string]func(bucket string, header ...string) (status int, text string){
		"PutObject": func(bucket string, header ...string) (int, string) {
			status, text, _ := w.do("PUT", "/"+bucket+"/k", "x", h(header...))
			return status, text
		},
		"CopyObject": func(bucket string, header ...string) (int, string) {
			status, text, _ := w.do("PUT", "/"+bucket+"/k", "", h(append([]string{"x-amz-copy-source", "/plain/source"}, header...)...))
			return status, text
		},
		"CreateMultipartUpload": func(bucket string, header ...string) (int, string) {
			status, text, _ := w.do("POST", "/"+bucket+"/k?uploads", "", h(header...))
			return status, text
		},
	}
	for action, do := range make {
		for what, c := range map[string]struct {
			bucket string
			header []string
			status int
		}{
			"whole":           {"bucket", lock, 200},
			"legal hold":      {"bucket", lock[4:], 200},
			"no bucket lock":  {"plain", lock, 400},
			"mode alone":      {"bucket", lock[:2], 400},
			"date alone":      {"bucket", lock[2:4], 400},
			"unknown mode":    {"bucket", []string{lock[0], "FOREVER", lock[2], until}, 400},
			"past date":       {"bucket", []string{lock[0], "GOVERNANCE", lock[2], "2020-01-01T00:00:00Z"}, 400},
			"no date":         {"bucket", []string{lock[0], "GOVERNANCE", lock[2], "soon"}, 400},
			"legal hold else": {"bucket", []string{lock[4], "MAYBE"}, 400},
		} {
			status, text := do(c.bucket, c.header...)
			require.Equal(t, c.status, status, "%s, %s: %s", action, what, text)
		}
	}
	got := w.headers(200, "PUT", "/bucket/k", "x", h(lock...))
	version := got.Get("X-Amz-Version-Id")
	for _, method := range []string{"GET", "HEAD"} {
		shown := w.headers(200, method, "/bucket/k?versionId="+version, "", nil)
		require.Equal(t, []string{"COMPLIANCE", "ON"}, []string{shown.Get(lockModeHeader), shown.Get(legalHoldHeader)}, method)
		require.NotEmpty(t, shown.Get(lockUntilHeader), method)
	}
	policy := func(actions string) {
		w.want(204, "PUT", "/bucket?policy", `{"Statement":{"Effect":"Allow","Principal":{"AWS":"`+w.theirs.AccountID()+`"},"Action":`+actions+`,"Resource":"arn:aws:s3:::bucket/*"}}`, nil)
	}
	for _, c := range []struct{ actions, mode, hold string }{
		{`["s3:GetObject"]`, "", ""},
		{`["s3:GetObject","s3:GetObjectRetention"]`, "COMPLIANCE", ""},
		{`["s3:GetObject","s3:GetObjectLegalHold"]`, "", "ON"},
		{`["s3:GetObject","s3:GetObjectRetention","s3:GetObjectLegalHold"]`, "COMPLIANCE", "ON"},
	} {
		policy(c.actions)
		for _, method := range []string{"GET", "HEAD"} {
			res := w.call(&w.them, method, "/bucket/k", "", nil, nil)
			require.NoError(t, res.Body.Close())
			require.Equal(t, 200, res.StatusCode)
			require.Equal(t, []string{c.mode, c.hold}, []string{res.Header.Get(lockModeHeader), res.Header.Get(legalHoldHeader)}, "%s with %s", method, c.actions)
		}
	}
}

// Object Lock on a bucket that was made without it: only with versioning, which then can't be suspended; what was there
// before stays unlocked, and what comes gets the default.
func TestLockOfAnExistingBucket(t *testing.T) {
	w := newWorld(t)
	w.want(200, "PUT", "/bucket", "", nil)
	const config = `<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>`
	w.refuse(404, "ObjectLockConfigurationNotFoundError", "GET", "/bucket?object-lock", "", nil)
	w.refuse(409, "InvalidBucketState", "PUT", "/bucket?object-lock", config, nil)
	versioning := func(state string) string {
		return "<VersioningConfiguration><Status>" + state + "</Status></VersioningConfiguration>"
	}
	w.want(200, "PUT", "/bucket?versioning", versioning("Enabled"), nil)
	before := w.headers(200, "PUT", "/bucket/k", "before", nil).Get("X-Amz-Version-Id")
	w.want(200, "PUT", "/bucket?object-lock", config, nil)
	require.Contains(t, w.want(200, "GET", "/bucket?object-lock", "", nil), "<Days>1</Days>")
	w.refuse(409, "InvalidBucketState", "PUT", "/bucket?versioning", versioning("Suspended"), nil)
	w.refuse(404, "NoSuchObjectLockConfiguration", "GET", "/bucket/k?retention", "", nil)
	after := w.headers(200, "PUT", "/bucket/k", "after", nil).Get("X-Amz-Version-Id")
	require.Contains(t, w.want(200, "GET", "/bucket/k?retention", "", nil), "<Mode>GOVERNANCE</Mode>")
	w.want(204, "DELETE", "/bucket/k?versionId="+before, "", nil)
	w.refuse(403, "AccessDenied", "DELETE", "/bucket/k?versionId="+after, "", nil)
	w.want(204, "DELETE", "/bucket/k", "", nil) // a delete marker
	w.refuse(409, "BucketNotEmpty", "DELETE", "/bucket", "", nil)
	require.Equal(t, "after", w.want(200, "GET", "/bucket/k?versionId="+after, "", nil))
}

// The fields of a browser's form lock as the headers of a PUT do, and only if the form's policy allows them.
func TestLockByForm(t *testing.T) {
	w := newWorld(t)
	w.want(200, "PUT", "/bucket", "", h("x-amz-bucket-object-lock-enabled", "true"))
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	fields := [][2]string{{"key", "k"}, {"x-amz-object-lock-mode", "COMPLIANCE"}, {"x-amz-object-lock-retain-until-date", until},
		{"x-amz-object-lock-legal-hold", "ON"}}
	conditions := []any{}
	for _, f := range fields {
		conditions = append(conditions, map[string]string{f[0]: f[1]})
	}
	res, text := w.post(w.form(conditions, fields...))
	require.Equal(t, 204, res.StatusCode, text)
	got := w.headers(200, "HEAD", "/bucket/k", "", nil)
	require.Equal(t, []string{"COMPLIANCE", "ON"}, []string{got.Get(lockModeHeader), got.Get(legalHoldHeader)})
	w.refuse(403, "AccessDenied", "DELETE", "/bucket/k?versionId="+got.Get("X-Amz-Version-Id"), "", h("x-amz-bypass-governance-retention", "true"))

	res, text = w.post(w.form(conditions[:1], fields...))
	require.Equal(t, 403, res.StatusCode, "fields that no condition names: %s", text)
	alone := append([][2]string{}, fields[:2]...)
	res, text = w.post(w.form(conditions[:2], alone...))
	require.Equal(t, 400, res.StatusCode, "a mode without a date: %s", text)
	require.Equal(t, got.Get("X-Amz-Version-Id"), w.headers(200, "HEAD", "/bucket/k", "", nil).Get("X-Amz-Version-Id"), "what was refused put nothing")
}
