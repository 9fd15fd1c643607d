package s3api

import (
	"encoding/hex"
	"errors"

	"k3fs/namespace"
	"k3fs/s3api/internal/payload"
)

// body is the data of a PutObject or UploadPart as the namespace reads it.
type body struct{ r *payload.Reader }

// openBody prepares the request's data. checksum names the algorithm to compute when the client sent no
// checksum itself; empty computes none.
func (q *request) openBody(checksum payload.Algorithm) (*body, error) {
	r, err := q.s.bodies.Open(q.r, q.identity.Payload, payload.Request{MD5: true, Checksum: checksum})
	if err != nil {
		return nil, err
	}
	return &body{r: r}, nil
}

func (b *body) Read(p []byte) (int, error) { return b.r.Read(p) }

func (b *body) Size() int64 { return b.r.Len() }

func (b *body) Seal() (namespace.Sealed, error) {
	res, err := b.r.Result()
	if err != nil {
		return namespace.Sealed{}, err
	}
	s := namespace.Sealed{MD5: res.MD5, ETag: hex.EncodeToString(res.MD5[:])}
	if res.Checksum.Algorithm != "" {
		s.Checksums = namespace.Checksums{Algorithm: string(res.Checksum.Algorithm), Value: res.Checksum.String(), Type: "FULL_OBJECT"}
	}
	return s, nil
}

// bodyCause brings back the wire's own error from inside the namespace's.
func bodyCause(err error) error {
	var e *namespace.Error
	if errors.As(err, &e) && e.Kind == namespace.BadBody && e.Err != nil {
		return e.Err
	}
	return err
}
