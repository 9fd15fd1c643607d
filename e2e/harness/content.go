package harness

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
)

// Series is a sequence of contents for one name. Each content says which it is, and its length and
// every byte follow from that, so a reader recognises a torn, mixed, truncated or foreign content.
type Series struct {
	Name     string
	Min, Max int // range of the sizes in bytes; Min is at least 4
}

// ErrTorn is wrapped by Check's errors: the bytes are not one whole content of the series.
var ErrTorn = errors.New("torn content")

func (s Series) seed(seq uint32) [32]byte {
	h := fnv.New128a()
	fmt.Fprintf(h, "%s\x00%d", s.Name, seq)
	var seed [32]byte
	copy(seed[:], h.Sum(nil))
	return seed
}

// Size is the length of content seq: spread evenly over the magnitudes from Min to Max.
func (s Series) Size(seq uint32) int {
	if s.Max <= s.Min {
		return s.Min
	}
	r := rand.New(rand.NewChaCha8(s.seed(seq)))
	return int(float64(s.Min) * math.Pow(float64(s.Max)/float64(s.Min), r.Float64()))
}

// Body is content seq.
func (s Series) Body(seq uint32) []byte {
	b := make([]byte, s.Size(seq))
	seed := s.seed(seq)
	seed[31] = 1 // another stream than Size's
	_, _ = rand.NewChaCha8(seed).Read(b)
	binary.BigEndian.PutUint32(b, seq)
	return b
}

// Check returns which content b is, or an error that wraps ErrTorn.
func (s Series) Check(b []byte) (seq uint32, err error) {
	if len(b) < 4 {
		return 0, fmt.Errorf("%w: %s has %d bytes", ErrTorn, s.Name, len(b))
	}
	seq = binary.BigEndian.Uint32(b)
	want := s.Body(seq)
	if len(b) != len(want) {
		return seq, fmt.Errorf("%w: %s says it is content %d of %d bytes, and has %d", ErrTorn, s.Name, seq, len(want), len(b))
	}
	if !bytes.Equal(b, want) {
		at := 0
		for b[at] == want[at] {
			at++
		}
		return seq, fmt.Errorf("%w: %s, content %d of %d bytes, differs at byte %d", ErrTorn, s.Name, seq, len(b), at)
	}
	return seq, nil
}
