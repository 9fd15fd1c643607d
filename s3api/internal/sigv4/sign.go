package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

const (
	chunkAlgorithm   = algorithm + "-PAYLOAD"
	trailerAlgorithm = algorithm + "-TRAILER"
	emptyHash        = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// signingKey derives the key of one day, region and service from a secret.
func signingKey(secret string, s Scope) [32]byte {
	key := sign([]byte("AWS4"+secret), s.Date)
	for _, part := range []string{s.Region, s.Service, terminator} {
		key = sign(key[:], part)
	}
	return key
}

func sign(key []byte, message string) (sum [32]byte) {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(message))
	mac.Sum(sum[:0])
	return sum
}

func stringToSign(timestamp string, scope Scope, canonicalHash [32]byte) string {
	return algorithm + "\n" + timestamp + "\n" + scope.String() + "\n" + hex.EncodeToString(canonicalHash[:])
}

// Chain verifies an aws-chunked stream: each signature covers the one before it, the first one that of
// the request's own, so that chunks cannot be dropped, repeated or moved. It is not safe for concurrent use.
type Chain struct {
	key       [32]byte
	timestamp string
	scope     string
	previous  string
}

// Chunk verifies the signature of the next chunk, given the SHA-256 of its data, and advances if it is right.
func (c *Chain) Chunk(signature string, sum [32]byte) bool {
	return c.advance(signature, chunkAlgorithm+"\n"+c.timestamp+"\n"+c.scope+"\n"+c.previous+"\n"+
		emptyHash+"\n"+hex.EncodeToString(sum[:]))
}

// Trailer verifies the signature of the trailing headers, given the SHA-256 of their canonical form: for
// each, "name:value\n" in the order sent.
func (c *Chain) Trailer(signature string, sum [32]byte) bool {
	return c.advance(signature, trailerAlgorithm+"\n"+c.timestamp+"\n"+c.scope+"\n"+c.previous+"\n"+
		hex.EncodeToString(sum[:]))
}

func (c *Chain) advance(signature, message string) bool {
	if !equal(sign(c.key[:], message), signature) {
		return false
	}
	c.previous = signature
	return true
}
