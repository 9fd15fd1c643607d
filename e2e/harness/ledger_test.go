package harness

import (
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLedgerJudges(t *testing.T) {
	type world map[string][]byte
	read := func(w world) func(string) ([]byte, error) {
		return func(name string) ([]byte, error) {
			if b, ok := w[name]; ok {
				return b, nil
			}
			return nil, fs.ErrNotExist
		}
	}
	fresh := func() (*Ledger, []byte, []byte, []byte) { // 1 durable, 2 acknowledged, 3 tried
		l := NewLedger(100, 200)
		_, one := l.Write("n")
		l.Durable("n")
		_, two := l.Write("n")
		l.Done("n")
		_, three := l.Write("n")
		return l, one, two, three
	}
	l, one, two, three := fresh()
	for _, b := range [][]byte{one, two, three} {
		l, _, _, _ := fresh()
		require.Empty(t, l.Verify(read(world{"n": b})))
		l.Write("n")
		require.Empty(t, l.Verify(read(world{"n": b})), "what was found is the state to start from")
	}
	require.ErrorIs(t, l.Verify(read(world{}))[0], ErrLost)
	l, _, _, _ = fresh()
	require.ErrorIs(t, l.Verify(read(world{"n": append(one[:50:50], two[50:]...)}))[0], ErrTorn)
	l, _, _, _ = fresh()
	l.Durable("n")
	require.ErrorIs(t, l.Verify(read(world{"n": two}))[0], ErrLost)
	l, _, _, _ = fresh()
	l.Crashed(time.Now().Add(2 * Settled)) // content 2 was acknowledged long before
	require.ErrorIs(t, l.Verify(read(world{"n": one}))[0], ErrLost)
	l, _, _, _ = fresh()
	l.Remove("n")
	require.Empty(t, l.Verify(read(world{})))
	l, _, _, _ = fresh()
	l.Remove("n")
	l.Durable("n")
	require.ErrorIs(t, l.Verify(read(world{"n": three}))[0], ErrLost)
	l, _, _, _ = fresh()
	require.ErrorIs(t, l.Verify(read(world{"n": l.series("n").Body(9)}))[0], ErrAlien)

	l, _, two, _ = fresh()
	l.PowerGoing()
	l.Durable("n") // under way: not counted
	require.Empty(t, l.Verify(read(world{"n": two})))
	l.PowerGone()
	l.Write("n")
	l.Durable("n") // by a dead disk
	require.ErrorIs(t, l.Verify(read(world{"n": two}))[0], ErrLost)
}
