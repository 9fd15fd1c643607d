// Package form reads a browser's form upload (S3's POST Object): the fields of a multipart/form-data body, in
// bounded memory, then the file as a stream; and the POST policy that says which fields and which length of
// file the signer agreed to. It decides nothing about who signed: that is sigv4's.
//
// Source: "Browser-Based Uploads Using POST" in the S3 API reference.
package form

import (
	"errors"
	"io"
	"math"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"strings"

	"k3fs/s3api/internal/s3err"
)

// The bounds of what stands before the file; the first is S3's own.
const (
	maxFields    = 20 << 10 // bytes of all names and values
	maxFieldsNum = 200
	maxHead      = 256 << 10 // bytes of all that stands before the file
)

// Form is a form upload whose fields were read and whose file was not.
type Form struct {
	// Fields by name in lower case. S3 takes no field twice.
	Fields map[string]string
	// File is the content. Its errors are *s3err.Error, but for io.EOF.
	File io.Reader
}

// Read reads the fields of r. Fields behind the file are not looked at, as S3 ignores them.
func Read(r *http.Request) (*Form, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return nil, s3err.New("PreconditionFailed", "Bucket POST must be of the enclosure-type multipart/form-data")
	}
	f := &Form{Fields: map[string]string{}}
	head := &bounded{r: r.Body, left: maxHead}
	parts, size := multipart.NewReader(head, params["boundary"]), 0
	for range maxFieldsNum {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil, s3err.New(s3err.InvalidArgument, "POST requires exactly one file upload per request.")
		}
		if err != nil {
			return nil, malformed(err)
		}
		name := strings.ToLower(part.FormName())
		if name == "file" {
			head.left = math.MaxInt64
			f.File = file{part}
			f.substitute(part)
			return f, nil
		}
		value, err := io.ReadAll(io.LimitReader(part, int64(maxFields-size)+1))
		if err != nil {
			return nil, malformed(err)
		}
		if size += len(name) + len(value); size > maxFields {
			break
		}
		if _, twice := f.Fields[name]; twice {
			return nil, s3err.New(s3err.InvalidArgument, "POST requires exactly one field named %q.", name)
		}
		f.Fields[name] = string(value)
	}
	return nil, tooLarge()
}

// bounded is a body of which only so much may be read.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, tooLarge()
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func tooLarge() error {
	return s3err.New("MaxPostPreDataLengthExceeded", "Your POST request fields preceding the upload file were too large.")
}

// substitute puts the file's name, without directories, in place of ${filename}.
func (f *Form) substitute(part *multipart.Part) {
	name := part.FileName()
	if i := strings.LastIndexByte(name, '\\'); i >= 0 {
		name = name[i+1:]
	}
	if name = path.Base("/" + name); name == "/" {
		name = ""
	}
	for field, value := range f.Fields {
		if field != "policy" {
			f.Fields[field] = strings.ReplaceAll(value, "${filename}", name)
		}
	}
}

func malformed(err error) error {
	var typed *s3err.Error
	if errors.As(err, &typed) {
		return typed
	}
	return s3err.Wrap(err, "MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")
}

// file is the file's part; a body that breaks off is an error, and not the file's end.
type file struct{ part *multipart.Part }

func (f file) Read(p []byte) (int, error) {
	n, err := f.part.Read(p)
	if err != nil && err != io.EOF {
		err = malformed(err)
	}
	return n, err
}
