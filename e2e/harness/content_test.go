package harness

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSeriesKnowsItsContents(t *testing.T) {
	s := Series{Name: "a/b", Min: 10, Max: 1 << 20}
	for seq := range uint32(50) {
		b := s.Body(seq)
		require.GreaterOrEqual(t, len(b), 10)
		require.LessOrEqual(t, len(b), 1<<20)
		got, err := s.Check(b)
		require.NoError(t, err)
		require.Equal(t, seq, got)
	}
}

func TestSeriesSeesTearing(t *testing.T) {
	s := Series{Name: "a", Min: 4096, Max: 64 << 10}
	old, young := s.Body(1), s.Body(2)
	short, long := old, young
	if len(short) > len(long) {
		short, long = long, short
	}
	mixes := map[string][]byte{
		"empty":            {},
		"three bytes":      young[:3],
		"truncated":        young[:len(young)-1],
		"extended":         append(bytes.Clone(young), 0),
		"zero tail":        append(bytes.Clone(young[:len(young)-100]), make([]byte, 100)...),
		"new then old":     append(bytes.Clone(long[:len(short)/2]), short[len(short)/2:]...),
		"short over long":  append(bytes.Clone(short), long[len(short):]...),
		"of another name":  Series{Name: "b", Min: 4096, Max: 64 << 10}.Body(1),
		"one byte changed": func() []byte { b := bytes.Clone(young); b[len(b)/2] ^= 1; return b }(),
	}
	for name, b := range mixes {
		_, err := s.Check(b)
		require.ErrorIs(t, err, ErrTorn, name)
	}
}
