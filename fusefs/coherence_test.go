package fusefs

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What was written and closed through one mount is what another one shows and reads, whatever it has in its caches.
func TestMountsSeeEachOther(t *testing.T) {
	_, one, two := twoMounts(t)
	for i := range 100 {
		from, to := filepath.Join(one, "f"), filepath.Join(two, "f")
		if i%2 == 1 {
			from, to = to, from
		}
		content := fmt.Sprintf("round %03d %0*d", i, i*7%31, 0)
		require.NoError(t, os.WriteFile(from, []byte(content), 0o644))
		for range 2 {
			st, err := os.Stat(to)
			require.NoError(t, err)
			require.EqualValues(t, len(content), st.Size(), "round %d", i)
			got, err := os.ReadFile(to)
			require.NoError(t, err)
			require.Equal(t, content, string(got), "round %d", i)
		}
	}
}

// A reader on another mount that keeps its file open sees what a writer writes.
func TestOpenFileSeesOtherMount(t *testing.T) {
	_, one, two := twoMounts(t)
	require.NoError(t, os.WriteFile(filepath.Join(one, "f"), []byte("round 000"), 0o644))
	w, err := os.OpenFile(filepath.Join(one, "f"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer w.Close()
	r, err := os.Open(filepath.Join(two, "f"))
	require.NoError(t, err)
	defer r.Close()
	for i := range 50 {
		content := fmt.Sprintf("round %03d", i)
		_, err := w.WriteAt([]byte(content), 0)
		require.NoError(t, err)
		got := make([]byte, len(content))
		_, err = r.ReadAt(got, 0)
		require.NoError(t, err)
		require.Equal(t, content, string(got))
	}
}

// Caches that nothing changed stay warm: what was done once is done again without asking the daemon. But the
// kernel asks for the attributes once after each close, for st_blocks, which it does not keep itself.
func TestCachesStayWarm(t *testing.T) {
	c := &counter{n: map[string]int{}}
	dir := mountedReal(t, c)
	path := func(i int) string { return filepath.Join(dir, fmt.Sprintf("f%d", i)) }
	for i := range 50 {
		require.NoError(t, os.WriteFile(path(i), make([]byte, 10000), 0o644))
	}
	warm := func(look func(i int), ops ...string) {
		asked := func() (n int) {
			c.mu.Lock()
			defer c.mu.Unlock()
			for _, op := range ops {
				n += c.n[op]
			}
			return n
		}
		for range 20 { // others on the machine may drop its caches meanwhile
			before := asked()
			for i := range 50 {
				look(i)
			}
			if asked() == before {
				return
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		t.Fatalf("each pass asks again: %v", c.n)
	}
	warm(func(i int) {
		_, err := os.ReadFile(path(i))
		require.NoError(t, err)
	}, "lookup", "read")
	warm(func(i int) {
		_, err := os.Stat(path(i))
		require.NoError(t, err)
		_, err = os.Lstat(path(i) + ".absent")
		require.ErrorIs(t, err, os.ErrNotExist)
	}, "lookup", "read", "getattr")
}
