// Package apps runs the programs that people run on a file system, and compares with what they do on a local one.
package apps

import (
	"bufio"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

//go:embed testdata/sqlite.py
var sqliteWriter string

// bucket starts a daemon and returns a bucket's directory in its mount.
func bucket(t *testing.T) (*harness.Daemon, string) {
	t.Helper()
	d := harness.Start(t, harness.Options{})
	dir := filepath.Join(d.Mount, "apps")
	require.NoError(t, os.Mkdir(dir, 0o755))
	return d, dir
}

// writer is a process that commits to a database, and says so.
type writer struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	out  *bufio.Scanner
	last int // the last commit that it was heard to say
}

func startWriter(t *testing.T, db, mode, name string) *writer {
	w := &writer{t: t, name: name, cmd: exec.Command("python3", "-c", sqliteWriter, db, mode, name)}
	w.cmd.Stderr = os.Stderr
	out, err := w.cmd.StdoutPipe()
	require.NoError(t, err)
	w.out = bufio.NewScanner(out)
	require.NoError(t, w.cmd.Start())
	return w
}

// commits reads until the writer has committed n times more.
func (w *writer) commits(n int) {
	w.t.Helper()
	for ; n > 0; n-- {
		require.True(w.t, w.hear(), "%s ended", w.name)
	}
}

func (w *writer) hear() bool {
	if !w.out.Scan() {
		return false
	}
	w.last, _ = strconv.Atoi(w.out.Text())
	return true
}

// kill ends the process, and hears what it still said.
func (w *writer) kill() {
	_ = w.cmd.Process.Kill()
	for w.hear() {
	}
	_ = w.cmd.Wait()
}

// check opens the database anew: it is whole, and has all that was committed.
func check(t *testing.T, db string, writers ...*writer) {
	t.Helper()
	script := `import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=60)
print(db.execute("PRAGMA integrity_check").fetchone()[0])
for row in db.execute("SELECT name, max(n), count(*) FROM t GROUP BY name"): print(*row)`
	lines := strings.Split(strings.TrimSpace(harness.Run(t, exec.Command("python3", "-c", script, db))), "\n")
	require.Equal(t, "ok", lines[0])
	stored := map[string]int{}
	for _, line := range lines[1:] {
		var name string
		var most, count int
		_, err := fmt.Sscan(line, &name, &most, &count)
		require.NoError(t, err)
		require.Equal(t, most, count, "%s: a commit is missing", name)
		stored[name] = most
	}
	for _, w := range writers {
		require.GreaterOrEqual(t, stored[w.name], w.last, "%s: a commit that was acknowledged is lost", w.name)
	}
}

// TestSQLite: writers that share a database, by a rollback journal or a write-ahead log, exclude each other, and
// lose nothing that they committed when one of them or the daemon is killed.
func TestSQLite(t *testing.T) {
	harness.NeedTools(t, "python3")
	for _, mode := range []string{"DELETE", "WAL"} {
		t.Run(mode, func(t *testing.T) {
			d, dir := bucket(t)
			db := filepath.Join(dir, "db")
			a := startWriter(t, db, mode, "a")
			defer a.kill()
			a.commits(3) // it has made the table
			b := startWriter(t, db, mode, "b")
			defer b.kill()
			for range harness.Rounds(2, 50) {
				a.commits(10)
				b.commits(10)
			}
			a.kill() // in the midst of a transaction, mostly
			check(t, db, a)
			b.commits(10)
			d.Kill()
			b.kill()
			d.Close()
			d.MustStart(t)
			check(t, db, a, b)
		})
	}
}

// TestTools plays the same script on a local directory and on the mount, and compares all that is there then.
func TestTools(t *testing.T) {
	harness.NeedTools(t, "tar", "cp", "sed", "find", "make", "git", "gcc")
	_, dir := bucket(t)
	local := harness.TempDir(t)
	script := filepath.Join(harness.ModuleRoot(), "e2e", "apps", "testdata", "tools.sh")
	want := harness.Run(t, command(local, "bash", script))
	got := harness.Run(t, command(dir, "bash", script))
	require.Equal(t, want, got)
}

func command(dir string, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC", "HOME="+dir)
	return cmd
}
