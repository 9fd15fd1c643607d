package payload

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"net/http"
	"strings"

	"github.com/minio/crc64nvme"

	"k3fs/s3api/internal/s3err"
	"k3fs/s3api/internal/sigv4"
)

// Algorithm is a checksum algorithm, named as x-amz-checksum-algorithm names it.
type Algorithm string

// The algorithms that S3 takes in x-amz-checksum-*.
const (
	CRC32     Algorithm = "CRC32"
	CRC32C    Algorithm = "CRC32C"
	CRC64NVME Algorithm = "CRC64NVME"
	SHA1      Algorithm = "SHA1"
	SHA256    Algorithm = "SHA256"
)

// ParseAlgorithm finds an algorithm by its name, in any case.
func ParseAlgorithm(name string) (Algorithm, bool) {
	switch a := Algorithm(strings.ToUpper(name)); a {
	case CRC32, CRC32C, CRC64NVME, SHA1, SHA256:
		return a, true
	}
	return "", false
}

// Header is the lower-case name of the header and trailer that carries such a checksum.
func (a Algorithm) Header() string { return checksumPrefix + strings.ToLower(string(a)) }

// New starts a checksum. a must be one of the five algorithms.
func (a Algorithm) New() hash.Hash {
	switch a {
	case CRC32:
		return crc32.NewIEEE()
	case CRC32C:
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case CRC64NVME:
		return crc64nvme.New()
	case SHA1:
		return sha1.New()
	default:
		return sha256.New()
	}
}

func (a Algorithm) size() int {
	switch a {
	case CRC32, CRC32C:
		return crc32.Size
	case CRC64NVME:
		return crc64nvme.Size
	case SHA1:
		return sha1.Size
	default:
		return sha256.Size
	}
}

// Checksum is a checksum of an object's data.
type Checksum struct {
	Algorithm Algorithm
	Sum       []byte
}

// String is the checksum in base64, as S3 writes it in headers and XML.
func (c Checksum) String() string { return base64.StdEncoding.EncodeToString(c.Sum) }

const checksumPrefix = "x-amz-checksum-"

// expectation is the checksum that a body is to have.
type expectation struct {
	algorithm Algorithm
	sum       []byte // nil if it comes in the trailer, or if none was sent
	trailer   string // the lower-case name of the trailer, if there is one
}

// expected finds the one checksum that a client announced in a header or for the trailer.
func expected(h http.Header, mode sigv4.Mode, want Request) (e expectation, err error) {
	if !want.ObjectChecksum {
		if e, err = headerChecksum(h); err != nil {
			return e, err
		}
	}
	if err := e.announce(h, mode); err != nil {
		return e, err
	}
	if !want.ObjectChecksum {
		if err := e.agree(h); err != nil {
			return e, err
		}
	}
	if e.algorithm == "" {
		e.algorithm = want.Checksum
	}
	return e, nil
}

func headerChecksum(h http.Header) (e expectation, err error) {
	for name, values := range h {
		lower := strings.ToLower(name)
		if !strings.HasPrefix(lower, checksumPrefix) {
			continue
		}
		switch rest := lower[len(checksumPrefix):]; rest {
		case "algorithm", "type", "mode":
		default:
			a, known := ParseAlgorithm(rest)
			if !known {
				return e, s3err.New(s3err.InvalidRequest, "The algorithm type you specified in x-amz-checksum- header is invalid.")
			}
			if e.algorithm != "" || len(values) != 1 {
				return e, multipleChecksums()
			}
			e.algorithm = a
			if e.sum, err = a.decode(values[0]); err != nil {
				return e, err
			}
		}
	}
	return e, nil
}

func multipleChecksums() error {
	return s3err.New(s3err.InvalidRequest, "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
}

func (a Algorithm) decode(value string) ([]byte, error) {
	sum, err := base64.StdEncoding.Strict().DecodeString(strings.Trim(value, " \t"))
	if err == nil && len(sum) == a.size() {
		return sum, nil
	}
	if _, err := base64.RawStdEncoding.DecodeString(value); err == nil && value != "" && len(value)%4 != 0 {
		// A value that breaks off was a sum once, which is not that of the body.
		return nil, s3err.New(s3err.BadDigest, "The %s you specified did not match the calculated checksum.", a)
	}
	return nil, s3err.New(s3err.InvalidRequest, "Value for %s header is invalid.", a.Header())
}

// announce reads x-amz-trailer. S3 knows no trailers but one checksum.
func (e *expectation) announce(h http.Header, mode sigv4.Mode) error {
	values := h["X-Amz-Trailer"]
	switch {
	case len(values) == 0 && !mode.Trailer():
		return nil
	case len(values) != 1 || !mode.Trailer():
		return s3err.New(s3err.InvalidRequest, "x-amz-trailer must be sent once with a payload that has a trailer, and with no other.")
	}
	name := strings.ToLower(strings.Trim(values[0], " \t"))
	suffix, ok := strings.CutPrefix(name, checksumPrefix)
	a, known := ParseAlgorithm(suffix)
	if !ok || !known {
		return s3err.New(s3err.InvalidRequest, "The value specified in the x-amz-trailer header is not supported")
	}
	if e.algorithm != "" {
		return multipleChecksums()
	}
	e.algorithm, e.trailer = a, name
	return nil
}

// agree compares with x-amz-sdk-checksum-algorithm.
func (e *expectation) agree(h http.Header) error {
	values := h["X-Amz-Sdk-Checksum-Algorithm"]
	if len(values) == 0 {
		return nil
	}
	a, known := ParseAlgorithm(strings.Trim(values[0], " \t"))
	switch {
	case len(values) > 1, !known, e.algorithm != "" && e.algorithm != a:
		return s3err.New(s3err.InvalidRequest, "Value for x-amz-sdk-checksum-algorithm header is invalid.")
	case e.algorithm == "":
		return s3err.New(s3err.InvalidRequest, "x-amz-sdk-checksum-algorithm specified, but no corresponding "+
			"x-amz-checksum-* or x-amz-trailer headers were found.")
	}
	return nil
}

// verify compares the computed sum with the one in the header or in the trailer.
func (e *expectation) verify(sum hash.Hash, trailer string) (Checksum, error) {
	if e.algorithm == "" {
		return Checksum{}, nil
	}
	computed, want := sum.Sum(nil), e.sum
	if e.trailer != "" {
		var err error
		if want, err = e.algorithm.decode(trailer); err != nil {
			return Checksum{}, err
		}
	}
	if want != nil && subtle.ConstantTimeCompare(computed, want) != 1 {
		return Checksum{}, s3err.New(s3err.BadDigest, "The %s you specified did not match the calculated checksum.", e.algorithm)
	}
	return Checksum{Algorithm: e.algorithm, Sum: computed}, nil
}

// expectMD5 reads Content-MD5 (RFC 1864).
func (b *Reader) expectMD5(h http.Header) error {
	values := h["Content-Md5"]
	if len(values) == 0 {
		return nil
	}
	sum, err := base64.StdEncoding.Strict().DecodeString(strings.Trim(values[0], " \t"))
	if err != nil || len(sum) != len(b.wantMD5) || len(values) > 1 {
		return s3err.New(s3err.InvalidDigest, "The Content-MD5 you specified was invalid.")
	}
	b.checkMD5 = true
	copy(b.wantMD5[:], sum)
	return nil
}
