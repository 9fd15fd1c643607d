package s3api

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
	"k3fs/tenancy"
)

// The tests here are about what an answer says beside the thing itself: who, when, and which of two errors.

// expiryDate is what x-amz-expiration says of an object that was written just now.
func expiryDate(days int) string {
	day := time.Now().UTC().AddDate(0, 0, days)
	if midnight := day.Truncate(24 * time.Hour); midnight.Before(day) {
		day = midnight.AddDate(0, 0, 1)
	}
	return day.Format(http.TimeFormat)
}

// Every answer that describes an object says when which lifecycle rule lets it go.
func TestExpirationIsTold(t *testing.T) {
	w := newBucket(t)
	rule := func(id, what string, days int) string {
		return fmt.Sprintf("<Rule><ID>%s</ID><Filter>%s</Filter><Status>Enabled</Status><Expiration><Days>%d</Days></Expiration></Rule>", id, what, days)
	}
	w.want(200, "PUT", "/bucket?lifecycle", "<LifecycleConfiguration>"+rule("late", "<Prefix>tmp/</Prefix>", 9)+rule("a &amp; b", "<Prefix>tmp/</Prefix>", 2)+
		rule("tagged", "<Tag><Key>age</Key><Value>old</Value></Tag>", 3)+
		`<Rule><ID>up</ID><Filter><Prefix>tmp/</Prefix></Filter><Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>4</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>`+
		"</LifecycleConfiguration>", nil)
	told := func(name, method, path, body string, header http.Header, want func() string) {
		t.Helper()
		before := want() // midnight may come between the two
		got := w.headers(200, method, path, body, header).Get("X-Amz-Expiration")
		require.Contains(t, []string{before, want()}, got, name)
	}
	first := func() string { return `expiry-date="` + expiryDate(2) + `", rule-id="a+%26+b"` }
	tagged := func() string { return `expiry-date="` + expiryDate(3) + `", rule-id="tagged"` }
	none := func() string { return "" }
	told("put", "PUT", "/bucket/tmp/k", "x", nil, first)
	told("get", "GET", "/bucket/tmp/k", "", nil, first)
	told("head", "HEAD", "/bucket/tmp/k", "", nil, first)
	told("copy", "PUT", "/bucket/tmp/c", "", h("x-amz-copy-source", "/bucket/tmp/k"), first)
	told("copy outside", "PUT", "/bucket/c", "", h("x-amz-copy-source", "/bucket/tmp/k"), none)
	told("tagged", "PUT", "/bucket/k", "x", h("x-amz-tagging", "age=old"), tagged)
	told("tagged, head", "HEAD", "/bucket/k", "", nil, tagged)
	w.want(204, "DELETE", "/bucket/k?tagging", "", nil)
	told("not tagged", "HEAD", "/bucket/k", "", nil, none)

	id := w.createUpload("/bucket/tmp/m", nil)
	parts := w.headers(200, "GET", "/bucket/tmp/m?uploadId="+id, "", nil)
	require.Contains(t, []string{expiryDate(4), parts.Get("X-Amz-Abort-Date")}, parts.Get("X-Amz-Abort-Date"))
	require.Equal(t, "up", parts.Get("X-Amz-Abort-Rule-Id"))
	part := w.headers(200, "PUT", "/bucket/tmp/m?partNumber=1&uploadId="+id, "x", nil).Get("Etag")
	told("complete", "POST", "/bucket/tmp/m?uploadId="+id, "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"+part+"</ETag></Part></CompleteMultipartUpload>", nil, first)
	w.want(204, "DELETE", "/bucket?lifecycle", "", nil)
	told("no rules", "HEAD", "/bucket/tmp/k", "", nil, none)
}

// A listing of uploads says who began each and whose the object will be.
func TestUploadsNameTheirPeople(t *testing.T) {
	w := newBucket(t)
	w.want(204, "PUT", "/bucket?policy", `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"`+w.theirs.AccountID()+`"},"Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}]}`, nil)
	person := func(role string, id tenancy.TenantID) string { return "<" + role + "><ID>" + id.Canonical() + "</ID>" }
	mine := w.createUpload("/bucket/mine", nil)
	theirs := func() string {
		text := w.as(&w.them, 200, "POST", "/bucket/theirs?uploads", "", nil)
		_, rest, _ := strings.Cut(text, "<UploadId>")
		id, _, _ := strings.Cut(rest, "</UploadId>")
		return id
	}
	check := func(key, id string, initiator, owner tenancy.TenantID) {
		t.Helper()
		for _, cred := range []*tenancy.Credentials{&w.mine, &w.them} {
			for _, text := range []string{w.as(cred, 200, "GET", "/bucket/"+key+"?uploadId="+id, "", nil), w.as(cred, 200, "GET", "/bucket?uploads&prefix="+key, "", nil)} {
				require.Contains(t, text, person("Initiator", initiator))
				require.Contains(t, text, person("Owner", owner))
			}
		}
	}
	check("mine", mine, tenancy.FirstTenant, tenancy.FirstTenant)
	check("theirs", theirs(), w.theirs, tenancy.FirstTenant) // the bucket's owner is that of all in it
	w.want(200, "PUT", "/bucket?ownershipControls", aclsOn, nil)
	w.want(204, "DELETE", "/bucket/theirs?uploadId="+theirs(), "", nil)
	check("theirs", theirs(), w.theirs, w.theirs)
}

// Who may not write is told that, whatever else is wrong with the request.
func TestDeniedBeforeInvalid(t *testing.T) {
	w := newBucket(t)
	sse := "x-amz-server-side-encryption"
	w.want(204, "PUT", "/bucket?policy", `{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*","Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption":"AES256"}}}}`, nil)
	for _, header := range []http.Header{h(sse, "AES192"), h("x-amz-tagging", "%zz"), h("x-amz-checksum-crc32", "!"), h("x-amz-website-redirect-location", "x")} {
		w.refuse(403, "AccessDenied", "PUT", "/bucket/k", "x", header)
		header.Set(sse, "AES256")
		if len(header) > 1 {
			status, text, _ := w.do("PUT", "/bucket/k", "x", header)
			require.Equal(t, 400, status, text)
		}
	}
	w.as(&w.them, 403, "PUT", "/bucket/k", "x", h("x-amz-checksum-crc32", "!"))
	w.as(nil, 403, "PUT", "/bucket/k", "x", h("x-amz-checksum-crc32", "!"))
}

// The list of an object that another tenant wrote is the writer's; what it says stays readable for the bucket's owner,
// whose file it is.
func TestWritersOwnTheirLists(t *testing.T) {
	w := newBucket(t)
	w.want(200, "PUT", "/bucket?ownershipControls", aclsOn, nil)
	w.want(200, "PUT", "/bucket?acl", "", h("x-amz-grant-write", `id="`+w.theirs.Canonical()+`"`))
	w.as(&w.them, 200, "PUT", "/bucket/k", "theirs", nil)
	require.Equal(t, "theirs", w.want(200, "GET", "/bucket/k", "", nil))
	w.refuse(403, "AccessDenied", "GET", "/bucket/k?acl", "", nil)
	w.refuse(403, "AccessDenied", "PUT", "/bucket/k?acl", "", h("x-amz-acl", "public-read"))
	// A list that doesn't name its owner does not lock him out.
	w.as(&w.them, 200, "PUT", "/bucket/k?acl", "", h("x-amz-grant-read-acp", `id="`+tenancy.FirstTenant.Canonical()+`"`))
	w.as(&w.them, 200, "GET", "/bucket/k?acl", "", nil)
	w.want(200, "GET", "/bucket/k?acl", "", nil)
	w.refuse(403, "AccessDenied", "PUT", "/bucket/k?acl", "", h("x-amz-acl", "public-read"))
	w.as(&w.them, 200, "PUT", "/bucket/k?acl", "", h("x-amz-acl", "private"))
	w.refuse(404, "NoSuchKey", "GET", "/bucket/absent?acl", "", nil)
}

// What is no key is no path either.
func TestKeysAreText(t *testing.T) {
	w := newBucket(t)
	for _, method := range []string{"GET", "PUT", "DELETE", "HEAD", "POST"} {
		w.refuse(400, "InvalidURI", method, "/bucket/%AE%8A-", "", nil)
	}
}

// Part numbers go up, and each comes once.
func TestCompleteWantsAscendingParts(t *testing.T) {
	w := newBucket(t)
	id := w.createUpload("/bucket/k", nil)
	part := func(n int) string {
		etag := w.headers(200, "PUT", fmt.Sprintf("/bucket/k?partNumber=%d&uploadId=%s", n, id), "x", nil).Get("Etag")
		return fmt.Sprintf("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", n, etag)
	}
	one, two := part(1), part(2)
	for _, parts := range []string{two + one, one + one, two + two} {
		w.refuse(400, "InvalidPartOrder", "POST", "/bucket/k?uploadId="+id, "<CompleteMultipartUpload>"+parts+"</CompleteMultipartUpload>", nil)
	}
	w.want(200, "POST", "/bucket/k?uploadId="+id, "<CompleteMultipartUpload>"+two+"</CompleteMultipartUpload>", nil)
}

// An upload that announces no checksum gets S3's own, CRC64NVME, of parts that were sent and that were copied; and a
// copy of it is one piece, with the ETag of that.
func TestPartsBecomeOnePiece(t *testing.T) {
	w := newBucket(t)
	data := string(storetest.Bytes(5<<20, 7))
	w.want(200, "PUT", "/bucket/crc32", data, h("x-amz-checksum-crc32", crc(data)))
	w.write("bucket", "mounted", data)
	id := w.createUpload("/bucket/m", nil)
	doc := "<CompleteMultipartUpload>"
	for i, source := range []string{"", "bucket/crc32", "bucket/mounted"} {
		path := fmt.Sprintf("/bucket/m?partNumber=%d&uploadId=%s", i+1, id)
		if source == "" {
			w.want(200, "PUT", path, data, nil)
		} else {
			require.Contains(t, w.want(200, "PUT", path, "", h("x-amz-copy-source", source)), "ChecksumCRC64NVME")
		}
		doc += fmt.Sprintf("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, etag(data))
	}
	done := w.want(200, "POST", "/bucket/m?uploadId="+id, doc+"</CompleteMultipartUpload>", nil)
	require.Contains(t, done, "<ChecksumCRC64NVME>")
	require.Contains(t, done, "<ChecksumType>FULL_OBJECT</ChecksumType>")
	ask := h("x-amz-checksum-mode", "ENABLED")
	sum := w.headers(200, "HEAD", "/bucket/m", "", ask).Get("X-Amz-Checksum-Crc64nvme")
	require.Contains(t, done, "<ChecksumCRC64NVME>"+sum+"</ChecksumCRC64NVME>")
	whole := data + data + data
	w.want(200, "PUT", "/bucket/whole", whole, nil)
	require.Equal(t, w.headers(200, "HEAD", "/bucket/whole", "", ask).Get("X-Amz-Checksum-Crc64nvme"), sum)

	w.want(200, "PUT", "/bucket/copy", "", h("x-amz-copy-source", "bucket/m"))
	copied := w.headers(200, "HEAD", "/bucket/copy", "", ask)
	require.Equal(t, etag(whole), copied.Get("Etag"))
	require.Equal(t, sum, copied.Get("X-Amz-Checksum-Crc64nvme"))
	require.True(t, whole == w.want(200, "GET", "/bucket/copy", "", nil))
	w.want(200, "PUT", "/bucket/copy", "", h("x-amz-copy-source", "bucket/m", "x-amz-checksum-algorithm", "SHA256"))
	copied = w.headers(200, "HEAD", "/bucket/copy", "", ask)
	require.Equal(t, etag(whole), copied.Get("Etag"))
	require.NotEmpty(t, copied.Get("X-Amz-Checksum-Sha256"))
}

// A body that waits for 100-continue is never asked for where the request is refused anyway.
func TestRefusedBeforeTheBody(t *testing.T) {
	w := newBucket(t)
	for name, head := range map[string]string{
		"anonymous":       "PUT /bucket/k HTTP/1.1\r\n",
		"wrong signature": "PUT /bucket/k HTTP/1.1\r\nX-Amz-Date: " + time.Now().UTC().Format("20060102T150405Z") + "\r\nX-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\nAuthorization: AWS4-HMAC-SHA256 Credential=" + w.mine.AccessKey + "/" + time.Now().UTC().Format("20060102") + "/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=" + strings.Repeat("0", 64) + "\r\n",
		"customer key":    "PUT /bucket/k HTTP/1.1\r\nX-Amz-Server-Side-Encryption-Customer-Algorithm: AES256\r\n",
	} {
		conn, err := net.Dial("tcp", w.srv.Listener.Addr().String())
		require.NoError(t, err)
		_, err = io.WriteString(conn, head+"Host: "+w.srv.Listener.Addr().String()+"\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
		answer, err := io.ReadAll(conn) // the connection ends with the answer
		require.NoError(t, err, name)
		require.NoError(t, conn.Close())
		require.NotContains(t, string(answer), "100 Continue", name)
		require.Regexp(t, `^HTTP/1.1 4[0-9]{2} `, string(answer), name)
	}
}

// What is not there says so: every action of S3 that is none of ours, and what belongs to none.
func TestNotImplemented(t *testing.T) {
	w := newBucket(t)
	w.want(200, "PUT", "/bucket/k", "x", nil)
	for _, r := range [][2]string{{"POST", "/bucket/k?select&select-type=2"}, {"POST", "/bucket/k?restore"}, {"GET", "/bucket/k?torrent"},
		{"GET", "/bucket?replication"}, {"PUT", "/bucket?replication"}, {"DELETE", "/bucket?replication"}, {"GET", "/bucket?inventory&id=1"},
		{"PUT", "/bucket?inventory&id=1"}, {"GET", "/bucket?analytics&id=1"}, {"PUT", "/bucket?analytics&id=1"}, {"GET", "/bucket?metrics"},
		{"PUT", "/bucket?notification"}, {"PUT", "/bucket?logging"}, {"PUT", "/bucket?accelerate"}, {"GET", "/bucket?intelligent-tiering"},
		{"GET", "/bucket?session"}, {"PUT", "/bucket?metadataTable"}} {
		w.refuse(501, "NotImplemented", r[0], r[1], "<X/>", nil)
	}
	require.Equal(t, "x", w.want(200, "GET", "/bucket/k", "", nil))
}
