package payload

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"strings"

	"k3fs/s3api/internal/s3err"
	"k3fs/s3api/internal/sigv4"
)

const (
	// lineBuffer bounds a chunk header and a trailer line. Reads of data larger than it go past it.
	lineBuffer = 4 << 10
	// maxTrailerLines bounds the trailer: one checksum, one signature and blank lines.
	maxTrailerLines = 6

	chunkSignature   = "chunk-signature="
	trailerSignature = "x-amz-trailer-signature"
)

// chunked takes off the aws-chunked framing:
//
//	HEX[;chunk-signature=SIG] CRLF data CRLF ... 0[;chunk-signature=SIG] CRLF
//	[name:value CRLF [x-amz-trailer-signature:SIG CRLF]] CRLF
//
// The data of a signed chunk is handed on as it comes, but for its last bytes, which wait until the
// chunk's signature is verified.
type chunked struct {
	body      *bufio.Reader
	chain     *sigv4.Chain // nil if the chunks are unsigned
	trailer   string       // the trailer that must come; empty for none
	left      int64        // bytes left of the current chunk
	signature string       // of the current chunk
	sha       hash.Hash    // of the current chunk
}

func newChunked(body io.Reader, p sigv4.Payload, trailer string) *chunked {
	c := &chunked{body: bufio.NewReaderSize(body, lineBuffer), chain: p.Chain, trailer: trailer}
	if c.chain != nil {
		c.sha = sha256.New()
	}
	return c
}

func malformed(what string) error {
	return s3err.New(s3err.InvalidRequest, "The aws-chunked body is malformed: %s.", what)
}

func wrongLength() error {
	return s3err.New(s3err.IncompleteBody, "The body does not have the length that x-amz-decoded-content-length specifies.")
}

// Read reads data of one chunk. The caller never asks for more than the body's declared rest.
func (c *chunked) Read(p []byte) (int, error) {
	if c.left == 0 {
		if err := c.header(); err != nil {
			return 0, err
		}
		if c.left == 0 {
			return 0, wrongLength()
		}
	}
	// A chunk that reaches beyond the declared rest is caught when p is filled and the chunk goes on.
	n, err := c.body.Read(p[:min(int64(len(p)), c.left)])
	if n == 0 {
		return 0, err
	}
	c.left -= int64(n)
	if c.sha != nil {
		c.sha.Write(p[:n])
	}
	if c.left == 0 {
		if err := c.endChunk(); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// header reads the line before a chunk's data.
func (c *chunked) header() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	size, extension, signed := bytes.Cut(line, []byte(";"))
	if c.left, err = parseSize(size); err != nil {
		return err
	}
	if signed != (c.chain != nil) {
		return malformed("a chunk header must have a signature if the payload is signed, and no extension otherwise")
	}
	if signed {
		value, ok := bytes.CutPrefix(extension, []byte(chunkSignature))
		if !ok {
			return malformed("a chunk header must carry a chunk-signature")
		}
		c.signature = string(value)
		c.sha.Reset()
	}
	return nil
}

// endChunk verifies a chunk whose data was read.
func (c *chunked) endChunk() error {
	if err := c.crlf(); err != nil {
		return err
	}
	return c.verify()
}

func (c *chunked) verify() error {
	if c.chain == nil {
		return nil
	}
	var sum [32]byte
	c.sha.Sum(sum[:0])
	if !c.chain.Chunk(c.signature, sum) {
		return wrongSignature()
	}
	return nil
}

func wrongSignature() error {
	return s3err.New(s3err.SignatureDoesNotMatch, "The signature of a chunk or trailer does not match its data.")
}

// finish reads the last, empty chunk, the trailer, and the end of the body.
func (c *chunked) finish() (trailer string, err error) {
	if c.left > 0 {
		return "", wrongLength()
	}
	if err := c.header(); err != nil {
		return "", err
	}
	if c.left > 0 {
		return "", wrongLength()
	}
	if err := c.verify(); err != nil {
		return "", err
	}
	if c.trailer != "" {
		trailer, err = c.trailers()
	} else {
		err = c.crlf()
	}
	if err != nil {
		return "", err
	}
	return trailer, c.end()
}

// end expects the end of the body. A blank line before it is taken: minio-go writes one after a trailer.
func (c *chunked) end() error {
	rest, err := c.body.Peek(3)
	switch {
	case err != nil && err != io.EOF:
		return err
	case len(rest) == 0 || string(rest) == "\r\n":
		return nil
	}
	return malformed("data follows its end")
}

// trailers reads the one trailer, its signature if the payload is signed, and the blank line after them.
// minio-go ends the trailer with LF and puts a blank line before the signature; AWS takes that too.
func (c *chunked) trailers() (string, error) {
	var value, signature string
	var sum [32]byte
	found, proven := false, c.chain == nil
	for range maxTrailerLines {
		line, err := c.trailerLine()
		if err != nil {
			return "", err
		}
		if line == "" {
			if found && proven {
				return value, nil
			}
			if found && c.chain != nil {
				continue
			}
			return "", malformedTrailer()
		}
		name, v, ok := strings.Cut(line, ":")
		name, v = strings.ToLower(strings.Trim(name, " \t")), strings.Trim(v, " \t")
		switch {
		case ok && name == c.trailer && !found:
			found, value = true, v
			sum = sha256.Sum256([]byte(name + ":" + v + "\n"))
		case ok && name == trailerSignature && found && !proven:
			if signature = v; !c.chain.Trailer(signature, sum) {
				return "", wrongSignature()
			}
			proven = true
		default:
			return "", malformedTrailer()
		}
	}
	return "", malformedTrailer()
}

func malformedTrailer() error {
	return s3err.New(s3err.MalformedTrailer,
		"The request contained trailing data that was not well-formed or did not conform to our published schema.")
}

func (c *chunked) trailerLine() (string, error) {
	line, err := c.body.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		return "", malformedTrailer()
	}
	if err != nil {
		return "", err
	}
	return string(bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))), nil
}

// line reads a chunk header without its CRLF. It is valid until the next read.
func (c *chunked) line() ([]byte, error) {
	line, err := c.body.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		return nil, malformed("a chunk header is too long")
	}
	if err != nil {
		return nil, err
	}
	if !bytes.HasSuffix(line, []byte("\r\n")) {
		return nil, malformed("a chunk header must end in CRLF")
	}
	return line[:len(line)-2], nil
}

func (c *chunked) crlf() error {
	for _, want := range []byte("\r\n") {
		got, err := c.body.ReadByte()
		if err != nil {
			return err
		}
		if got != want {
			return malformed("CRLF expected after a chunk")
		}
	}
	return nil
}

// parseSize reads a chunk size: 1 to 15 hexadecimal digits.
func parseSize(digits []byte) (int64, error) {
	if len(digits) == 0 || len(digits) > 15 {
		return 0, malformed("a chunk size must be a hexadecimal number")
	}
	var n int64
	for _, d := range digits {
		switch {
		case d >= '0' && d <= '9':
			d -= '0'
		case d >= 'a' && d <= 'f':
			d -= 'a' - 10
		case d >= 'A' && d <= 'F':
			d -= 'A' - 10
		default:
			return 0, malformed("a chunk size must be a hexadecimal number")
		}
		n = n<<4 | int64(d)
	}
	return n, nil
}
