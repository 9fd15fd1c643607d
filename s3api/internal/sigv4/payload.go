package sigv4

import (
	"encoding/hex"
	"net/http"

	"k3fs/s3api/internal/s3err"
)

const unsignedPayload = "UNSIGNED-PAYLOAD"

// Mode is what x-amz-content-sha256 says about the body of a request.
type Mode int

// The modes, in the words of the header.
const (
	Unsigned                 Mode = iota // UNSIGNED-PAYLOAD
	Exact                                // the hex SHA-256 of the body
	StreamingSigned                      // STREAMING-AWS4-HMAC-SHA256-PAYLOAD
	StreamingSignedTrailer               // STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER
	StreamingUnsignedTrailer             // STREAMING-UNSIGNED-PAYLOAD-TRAILER
)

// Chunked reports whether the body is in aws-chunked framing.
func (m Mode) Chunked() bool { return m >= StreamingSigned }

// Trailer reports whether headers follow the body.
func (m Mode) Trailer() bool { return m == StreamingSignedTrailer || m == StreamingUnsignedTrailer }

func (m Mode) signedChunks() bool { return m == StreamingSigned || m == StreamingSignedTrailer }

// Payload is how the body of an authenticated request must be read.
type Payload struct {
	Mode   Mode
	SHA256 [32]byte // of the body; Exact only
	Chain  *Chain   // verifies the chunks; the two signed streaming modes only
}

func parsePayload(value string) (Payload, error) {
	switch value {
	case unsignedPayload:
		return Payload{Mode: Unsigned}, nil
	case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD":
		return Payload{Mode: StreamingSigned}, nil
	case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
		return Payload{Mode: StreamingSignedTrailer}, nil
	case "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
		return Payload{Mode: StreamingUnsignedTrailer}, nil
	}
	p := Payload{Mode: Exact}
	if len(value) == 64 {
		if _, err := hex.Decode(p.SHA256[:], []byte(value)); err == nil {
			return p, nil
		}
	}
	return Payload{}, s3err.New(s3err.InvalidArgument, "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, "+
		"STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, "+
		"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.")
}

// unchunkedPayload reads the payload mode of a request that has no signature to chain chunks to.
func unchunkedPayload(r *http.Request) (Payload, error) {
	hash, present, err := single(r.Header, contentHeader)
	if err != nil || !present {
		return Payload{}, err
	}
	p, err := parsePayload(hash)
	if err == nil && p.Mode.signedChunks() {
		err = s3err.New(s3err.InvalidRequest, "Signed chunks need a request that is signed by AWS4-HMAC-SHA256 in its header.")
	}
	return p, err
}
