package locks

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// parse reads locks: "a:w0-9" is a write lock of owner a on the bytes 0 to 9; "$" is the end.
func parse(t *testing.T, text string) []Lock {
	var all []Lock
	for word := range strings.FieldsSeq(text) {
		all = append(all, parseOne(t, word))
	}
	return all
}

func parseOne(t *testing.T, word string) Lock {
	var owner, mode rune
	word = strings.ReplaceAll(word, "$", fmt.Sprint(uint64(End)))
	l := Lock{}
	_, err := fmt.Sscanf(word, "%c:%c%d-%d", &owner, &mode, &l.Start, &l.Last)
	require.NoError(t, err, word)
	l.Owner = Owner{1, uint64(owner)}
	l.Mode = map[rune]Mode{'u': Unlock, 'r': Read, 'w': Write}[mode]
	return l
}

func format(all []Lock) string {
	var words []string
	for _, l := range all {
		words = append(words, fmt.Sprintf("%c:%c%d-%d", rune(l.ID), "urw"[l.Mode], l.Start, l.Last))
	}
	return strings.ReplaceAll(strings.Join(words, " "), fmt.Sprint(uint64(End)), "$")
}

func TestSet(t *testing.T) {
	for _, tt := range []struct{ held, lock, want string }{
		{"", "a:r0-9", "a:r0-9"},
		{"", "a:u0-9", ""},
		{"a:r0-9", "a:r0-9", "a:r0-9"},
		{"a:r0-9", "a:r10-19", "a:r0-19"},                                                             // neighbours of one mode join
		{"a:r10-19", "a:r0-9", "a:r0-19"},                                                             //
		{"a:r0-9", "a:r11-19", "a:r0-9 a:r11-19"},                                                     //
		{"a:r0-9", "a:w10-19", "a:r0-9 a:w10-19"},                                                     // of two don't
		{"a:r0-9 a:r20-29", "a:r10-19", "a:r0-29"},                                                    // a gap is filled
		{"a:r0-9 a:r20-29 a:r40-49", "a:r5-45", "a:r0-49"},                                            // and overlaps
		{"a:w0-9", "a:r0-9", "a:r0-9"},                                                                // downgrade
		{"a:r0-9", "a:w3-5", "a:r0-2 a:w3-5 a:r6-9"},                                                  // upgrade of a part
		{"a:w0-9 a:r10-19", "a:r5-9", "a:w0-4 a:r5-19"},                                               // downgrade that joins
		{"a:r0-2 a:w3-5 a:r6-9", "a:r3-5", "a:r0-9"},                                                  // on both sides
		{"a:w0-$", "a:u10-19", "a:w0-9 a:w20-$"},                                                      // unlock in the middle
		{"a:w0-$", "a:u0-9", "a:w10-$"},                                                               // at the start
		{"a:w0-$", "a:u10-$", "a:w0-9"},                                                               // at the end
		{"a:w0-9 a:r10-19 a:w20-$", "a:u5-25", "a:w0-4 a:w26-$"},                                      //
		{"a:w0-9 b:w10-19 b:w30-39", "a:u0-$", "b:w10-19 b:w30-39"},                                   // others keep theirs
		{"a:r5-9 b:r0-9", "a:r0-1", "a:r0-1 a:r5-9 b:r0-9"},                                           // and their places
		{"b:r0-9", "a:r0-9", "b:r0-9 a:r0-9"},                                                         //
		{"a:r1-$", "a:w0-0", "a:w0-0 a:r1-$"},                                                         // a single byte
		{"a:r0-$", fmt.Sprintf("a:w%d-$", uint64(End)), fmt.Sprintf("a:r0-%d a:w$-$", uint64(End)-1)}, // the last one
	} {
		got := format(set(parse(t, tt.held), parseOne(t, tt.lock)))
		require.Equal(t, tt.want, got, "%q and %q", tt.held, tt.lock)
	}
}

func TestConflict(t *testing.T) {
	for _, tt := range []struct{ held, lock, want string }{
		{"", "a:w0-$", ""},
		{"a:w0-9", "a:w0-$", ""}, // one's own
		{"a:r0-9", "b:r0-9", ""},
		{"a:r0-9", "b:w0-9", "a:r0-9"},
		{"a:w0-9", "b:r9-9", "a:w0-9"},
		{"a:w0-9", "b:w10-19", ""},            // neighbours
		{"a:w0-9", "b:u0-9", ""},              // giving up never waits
		{"a:r5-9 b:r0-4", "c:w0-9", "a:r5-9"}, // the first of those who came first
		{"a:r0-9 b:r0-9", "a:w0-9", "b:r0-9"}, // an upgrade
	} {
		got, found := conflict(parse(t, tt.held), parseOne(t, tt.lock))
		require.Equal(t, tt.want != "", found, "%q and %q", tt.held, tt.lock)
		if found {
			require.Equal(t, tt.want, format([]Lock{got}))
		}
	}
}
