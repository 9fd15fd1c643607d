// Package payload reads the body of an S3 request: it takes off the aws-chunked framing and verifies all
// that the client said about the body (length, SHA-256, chunk and trailer signatures, Content-MD5,
// x-amz-checksum-*) while the data passes through, in memory that does not depend on the body's size.
//
// The promise to the consumer: io.EOF is reported only after everything was verified, and the last
// bytes of a body that fails are never handed on. Earlier bytes of a body that turns out wrong are handed
// on before that is known, so nothing may be published before io.EOF, and [Reader.Result] refuses before.
//
// It owns nothing of who sent the request: that is the sigv4.Payload it is given. Every error other than
// io.EOF is an *s3err.Error.
//
// MD5, which the ETag needs and which is slower than everything else here, runs beside the data path in a
// goroutine of the Reader with a bounded queue; only Content-MD5 makes io.EOF wait for it. One body uses the
// standard library, several at once share the lanes of md5-simd.
package payload

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"hash"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"

	"k3fs/s3api/internal/s3err"
	"k3fs/s3api/internal/sigv4"
)

// DefaultMaxLength is the largest object or part that S3 takes in one request: 5 GiB.
const DefaultMaxLength = 5 << 30

// Request says what is wanted of one body. The zero value verifies what the client sent and no more.
type Request struct {
	// MaxLength of the decoded body in bytes; a longer one is EntityTooLarge. Default DefaultMaxLength.
	MaxLength int64
	// MD5 asks for the MD5 in the result, for an ETag.
	MD5 bool
	// Checksum is computed when the client sent none. Empty computes none.
	Checksum Algorithm
	// ObjectChecksum says that x-amz-checksum-* speak of an object and not of this body
	// (CompleteMultipartUpload): they are not looked at.
	ObjectChecksum bool
}

// Result is what is known of a body that was read to its end.
type Result struct {
	MD5 [16]byte // if asked for, or if the client sent Content-MD5
	// Checksum was verified against what the client sent, or computed by Request.Checksum. Its
	// Algorithm is empty if there is neither.
	Checksum Checksum
}

// Opener opens request bodies. It holds what they share and is safe for concurrent use. The zero value is
// ready; Close it after the last of its bodies.
type Opener struct {
	md5 md5Pool
}

// Close ends the Opener's background work. All bodies it opened must be closed.
func (o *Opener) Close() error {
	o.md5.close()
	return nil
}

// Reader is a body being read and verified. It is not safe for concurrent use. Close must be called.
type Reader struct {
	src      source
	length   int64
	left     int64
	sha      hash.Hash // of the whole body; nil unless the mode is Exact
	wantSHA  [32]byte
	sum      hash.Hash // of expect.algorithm; nil if there is none
	expect   expectation
	md5      *md5Sum // nil unless asked for
	checkMD5 bool
	wantMD5  [16]byte
	result   Result
	err      error // sticky; io.EOF after success
}

// source yields the decoded bytes of a body, and after exactly length of them what follows.
type source interface {
	// Read is io.Reader's, but never asked for more than the rest of the body. io.EOF is an error here.
	Read(p []byte) (int, error)
	// finish reads the end of the body and returns the value of its trailer, if it has one.
	finish() (trailer string, err error)
}

// Open prepares to read the body of r, whose authentication found p. It reads nothing yet.
func (o *Opener) Open(r *http.Request, p sigv4.Payload, want Request) (*Reader, error) {
	length, err := bodyLength(r, p.Mode)
	if err != nil {
		return nil, err
	}
	limit := want.MaxLength
	if limit <= 0 {
		limit = DefaultMaxLength
	}
	if length > limit {
		return nil, s3err.New(s3err.EntityTooLarge, "Your proposed upload exceeds the maximum allowed size")
	}
	b := &Reader{length: length, left: length}
	if err := b.expectMD5(r.Header); err != nil {
		return nil, err
	}
	if b.expect, err = expected(r.Header, p.Mode, want); err != nil {
		return nil, err
	}
	if b.expect.algorithm != "" {
		b.sum = b.expect.algorithm.New()
	}
	if p.Mode == sigv4.Exact {
		b.sha, b.wantSHA = sha256.New(), p.SHA256
	}
	if want.MD5 || b.checkMD5 {
		b.md5 = newMD5(&o.md5, length)
	}
	body := r.Body
	if body == nil {
		body = http.NoBody
	}
	if p.Mode.Chunked() {
		b.src = newChunked(body, p, b.expect.trailer)
	} else {
		b.src = plain{body}
	}
	return b, nil
}

// bodyLength is the length of the decoded body, which S3 always wants to know beforehand.
func bodyLength(r *http.Request, mode sigv4.Mode) (int64, error) {
	missing := s3err.New(s3err.MissingContentLength, "You must provide the Content-Length HTTP header.")
	if !mode.Chunked() {
		if r.ContentLength < 0 {
			return 0, missing
		}
		return r.ContentLength, nil
	}
	values := r.Header["X-Amz-Decoded-Content-Length"]
	if len(values) != 1 {
		return 0, missing
	}
	n, err := strconv.ParseUint(strings.Trim(values[0], " \t"), 10, 63)
	if err != nil {
		return 0, s3err.New(s3err.InvalidArgument, "x-amz-decoded-content-length must be a number of bytes.")
	}
	return int64(n), nil
}

// Algorithm is the checksum that the client sent or that is computed; empty if there is none.
func (b *Reader) Algorithm() Algorithm { return b.expect.algorithm }

// Len is the length of the decoded body in bytes, as the client declared it.
func (b *Reader) Len() int64 { return b.length }

// Read reads decoded data. It returns io.EOF once the whole body was read and verified.
func (b *Reader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n := 0
	if b.left > 0 {
		var err error
		if n, err = b.src.Read(p[:min(int64(len(p)), b.left)]); err != nil {
			return 0, b.fail(err)
		}
		b.digest(p[:n])
		b.left -= int64(n)
	}
	if b.left > 0 {
		return n, nil
	}
	if err := b.finish(); err != nil {
		return 0, b.fail(err)
	}
	b.err = io.EOF
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (b *Reader) fail(err error) error {
	b.err = bodyError(err)
	return b.err
}

func (b *Reader) digest(p []byte) {
	if b.sha != nil {
		b.sha.Write(p)
	}
	if b.sum != nil {
		b.sum.Write(p)
	}
	if b.md5 != nil {
		b.md5.write(p)
	}
}

// finish verifies the whole body, once all of its data was read.
func (b *Reader) finish() error {
	trailer, err := b.src.finish()
	if err != nil {
		return err
	}
	if b.md5 != nil {
		b.md5.end()
	}
	if b.sha != nil && subtle.ConstantTimeCompare(b.sha.Sum(nil), b.wantSHA[:]) != 1 {
		return s3err.New(s3err.SHA256Mismatch, "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	if b.result.Checksum, err = b.expect.verify(b.sum, trailer); err != nil {
		return err
	}
	if b.checkMD5 && b.md5.wait() != b.wantMD5 {
		return s3err.New(s3err.BadDigest, "The Content-MD5 you specified did not match what we received.")
	}
	return nil
}

// Result waits for the MD5, if one is being computed, and returns what is known of the body. Before Read
// has returned all data and verified it, it is an error.
func (b *Reader) Result() (Result, error) {
	if b.err == nil {
		return Result{}, s3err.New(s3err.IncompleteBody, "The body was not read to its end.")
	}
	if b.err != io.EOF {
		return Result{}, b.err
	}
	if b.md5 != nil {
		b.result.MD5 = b.md5.wait()
	}
	return b.result, nil
}

// Close ends the background work and gives the buffers back. It leaves the request's body open, as
// net/http closes that. The Result stays available if the body was read to its end.
func (b *Reader) Close() error {
	if b.md5 != nil {
		b.md5.end()
	}
	if b.err == nil {
		b.err = s3err.New(s3err.IncompleteBody, "The body was closed before it was read to its end.")
	}
	return nil
}

// ReadAll reads and verifies a small body whole, such as the XML of a request; one above limit bytes is
// EntityTooLarge before anything is read.
func (o *Opener) ReadAll(r *http.Request, p sigv4.Payload, limit int64, want Request) ([]byte, error) {
	want.MaxLength = limit
	b, err := o.Open(r, p, want)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return io.ReadAll(b)
}

// plain is a body without framing.
type plain struct{ body io.Reader }

func (s plain) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if n > 0 {
		return n, nil
	}
	return 0, err
}

func (s plain) finish() (string, error) { return "", nil }

// bodyError gives every failure to read a body its S3 code.
func bodyError(err error) error {
	var typed *s3err.Error
	var tooLarge *http.MaxBytesError
	var timeout net.Error
	switch {
	case errors.As(err, &typed):
		return typed
	case errors.As(err, &tooLarge):
		return s3err.Wrap(err, s3err.EntityTooLarge, "Your proposed upload exceeds the maximum allowed size")
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return s3err.Wrap(err, s3err.RequestTimeout,
			"Your socket connection to the server was not read from or written to within the timeout period.")
	}
	return s3err.Wrap(err, s3err.IncompleteBody,
		"You did not provide the number of bytes specified by the Content-Length HTTP header")
}

// ContentEncoding is the Content-Encoding to store with an object: what the client sent, without the
// transfer's own aws-chunked ("aws-chunked,gzip" is stored as "gzip").
func ContentEncoding(h http.Header) string {
	all := strings.Join(h["Content-Encoding"], ",")
	if !strings.Contains(strings.ToLower(all), "aws-chunked") {
		return strings.Trim(all, ", \t")
	}
	var kept []string
	for part := range strings.SplitSeq(all, ",") {
		part = strings.Trim(part, " \t")
		if part != "" && !strings.EqualFold(part, "aws-chunked") {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, ",")
}
