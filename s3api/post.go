package s3api

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"hash"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"k3fs/namespace"
	"k3fs/s3api/internal/form"
	"k3fs/s3api/internal/payload"
	"k3fs/s3api/internal/s3err"
	"k3fs/s3api/internal/sigv4"
)

// postObject is PostObject, a browser's form upload. What signs it, if anything, is in the form.
func (q *request) postObject() error {
	if q.identity.Mechanism != sigv4.Anonymous {
		return s3err.New(s3err.InvalidArgument, "Only one auth mechanism allowed; a form upload is authenticated by its fields")
	}
	f, err := form.Read(q.r)
	if err != nil {
		return err
	}
	id, err := q.s.verifier.VerifyForm(q.ctx(), f.Fields)
	if err != nil {
		return err
	}
	q.proven(id)
	q.view = q.viewAs(id.Principal)
	if q.key = f.Fields["key"]; q.key == "" {
		return s3err.New(s3err.InvalidArgument, "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.")
	}
	file, err := q.agreed(f)
	if err != nil {
		return err
	}
	if q.r.Header, err = formHeaders(f.Fields); err != nil {
		return err
	}
	if err := checkHeaders(nil, q.r.Header); err != nil {
		return err
	}
	b, err := newFormBody(file, f.Fields)
	if err != nil {
		return err
	}
	o, err := q.store(b)
	if err != nil {
		return err
	}
	q.describeStored(o)
	return q.posted(f.Fields, o)
}

// agreed checks the form against its policy, and bounds the file as that says. Only an anonymous form may come
// without one.
func (q *request) agreed(f *form.Form) (io.Reader, error) {
	if q.identity.Mechanism == sigv4.Anonymous {
		return f.File, nil
	}
	p, err := form.ParsePolicy(f.Fields["policy"])
	if err != nil {
		return nil, err
	}
	if err := p.Check(q.s.o.Now(), q.bucket, f.Fields); err != nil {
		return nil, err
	}
	return p.Limit(f.File), nil
}

// formHeaders are the headers that a PutObject with the form's meaning would carry.
func formHeaders(fields map[string]string) (http.Header, error) {
	h := http.Header{}
	for name, value := range fields {
		switch {
		case strings.ContainsAny(value, "\r\n\x00") && name != "policy" && name != "tagging":
			return nil, s3err.New(s3err.InvalidArgument, "The field %q holds a control character.", name)
		case name == "acl":
			h.Set("X-Amz-Acl", value)
		case name == "tagging":
			tags, err := formTags(value)
			if err != nil {
				return nil, err
			}
			h.Set("X-Amz-Tagging", tags)
		case name == "x-amz-algorithm", name == "x-amz-credential", name == "x-amz-date", name == "x-amz-signature",
			strings.HasPrefix(name, "x-amz-checksum-"):
		case strings.HasPrefix(name, "x-amz-"), name == "content-encoding", name == "content-type", name == "cache-control",
			name == "content-disposition", name == "content-language", name == "expires":
			h.Set(textproto.CanonicalMIMEHeaderKey(name), value)
		}
	}
	return h, nil
}

// formTags turns the XML of the field "tagging" into the form that x-amz-tagging has.
func formTags(field string) (string, error) {
	var doc struct {
		XMLName xml.Name                      `xml:"Tagging"`
		Tags    []struct{ Key, Value string } `xml:"TagSet>Tag"`
	}
	if err := decodeXML([]byte(field), &doc); err != nil {
		return "", err
	}
	var pairs []string
	for _, t := range doc.Tags {
		pairs = append(pairs, url.QueryEscape(t.Key)+"="+url.QueryEscape(t.Value))
	}
	return strings.Join(pairs, "&"), nil
}

// posted answers as the form asks: by a redirect, or with the status 200, 201 or 204.
func (q *request) posted(fields map[string]string, o namespace.ObjectInfo) error {
	place := q.objectURL(q.key)
	redirect := fields["success_action_redirect"]
	if redirect == "" {
		redirect = fields["redirect"] // the name that S3 once gave it
	}
	if u, err := url.Parse(redirect); redirect != "" && err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		query := "bucket=" + url.QueryEscape(q.bucket) + "&key=" + url.QueryEscape(q.key) + "&etag=" + url.QueryEscape(quoted(o.ETag))
		if u.RawQuery != "" {
			query = u.RawQuery + "&" + query
		}
		u.RawQuery = query
		q.w.Header().Set("Location", u.String())
		return q.writeEmpty(http.StatusSeeOther)
	}
	q.w.Header().Set("Location", place)
	switch fields["success_action_status"] {
	case "200":
		return q.writeEmpty(http.StatusOK)
	case "201":
		return q.writeXML(http.StatusCreated, struct {
			XMLName                     xml.Name `xml:"PostResponse"`
			Location, Bucket, Key, ETag string
		}{Location: place, Bucket: q.bucket, Key: printable(q.key), ETag: quoted(o.ETag)})
	}
	return q.writeEmpty(http.StatusNoContent)
}

// formBody is a form's file as the namespace reads it. Its length is not known beforehand.
type formBody struct {
	r   io.Reader
	n   int64
	md5 hash.Hash
	alg payload.Algorithm
	sum hash.Hash
	// What the client says that the checksum and the MD5 are; empty if it says nothing.
	want, wantMD5 string
}

func newFormBody(file io.Reader, fields map[string]string) (*formBody, error) {
	b := &formBody{r: file, md5: md5.New(), alg: payload.CRC64NVME, wantMD5: fields["content-md5"]}
	for name, value := range fields {
		suffix, ok := strings.CutPrefix(name, "x-amz-checksum-")
		if !ok || suffix == "algorithm" {
			continue
		}
		alg, known := payload.ParseAlgorithm(suffix)
		if !known || b.want != "" || value == "" {
			return nil, s3err.New(s3err.InvalidRequest, "Expecting a single x-amz-checksum- field of a known algorithm.")
		}
		b.alg, b.want = alg, value
	}
	b.sum = b.alg.New()
	return b, nil
}

func (b *formBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.md5.Write(p[:n])
	b.sum.Write(p[:n])
	if b.n += int64(n); b.n > payload.DefaultMaxLength {
		return 0, s3err.New(s3err.EntityTooLarge, "Your proposed upload exceeds the maximum allowed size")
	}
	if errors.Is(err, io.EOF) {
		if bad := b.verify(); bad != nil {
			return 0, bad
		}
	}
	return n, err
}

func (b *formBody) verify() error {
	for _, c := range []struct {
		what, want string
		sum        hash.Hash
	}{{"Content-MD5", b.wantMD5, b.md5}, {string(b.alg), b.want, b.sum}} {
		got := base64.StdEncoding.EncodeToString(c.sum.Sum(nil))
		if c.want != "" && subtle.ConstantTimeCompare([]byte(got), []byte(c.want)) != 1 {
			return s3err.New(s3err.BadDigest, "The %s you specified did not match what we received.", c.what)
		}
	}
	return nil
}

// Size is unknown.
func (b *formBody) Size() int64 { return -1 }

func (b *formBody) Seal() (namespace.Sealed, error) {
	s := namespace.Sealed{Checksums: namespace.Checksums{Algorithm: string(b.alg), Type: "FULL_OBJECT",
		Value: base64.StdEncoding.EncodeToString(b.sum.Sum(nil))}}
	b.md5.Sum(s.MD5[:0])
	s.ETag = hex.EncodeToString(s.MD5[:])
	return s, nil
}
