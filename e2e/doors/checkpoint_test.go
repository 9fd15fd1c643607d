package doors

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

const checkpointBytes = 2 << 30

// TestCheckpoint writes a 2 GiB checkpoint as training jobs do (temporary name, fsync, rename) and
// reads it by boto3's multipart download; then boto3 uploads it in parts, and the mount reads it.
func TestCheckpoint(t *testing.T) {
	python := "/usr/bin/python3"
	harness.NeedTools(t, python)
	d := harness.Start(t, harness.Options{})
	require.NoError(t, os.Mkdir(filepath.Join(d.Mount, "models"), 0o755))

	sum := writeCheckpoint(t, filepath.Join(d.Mount, "models", "step-1.tmp"))
	require.NoError(t, os.Rename(filepath.Join(d.Mount, "models", "step-1.tmp"), filepath.Join(d.Mount, "models", "step-1.pt")))

	out := harness.Run(t, client(d, python, "testdata/ranges.py", "models", "step-1.pt"))
	require.Equal(t, sum, strings.TrimSpace(out), "sha256 of what boto3 read")
	require.Equal(t, sum, hashFile(t, filepath.Join(d.Mount, "models", "step-1.pt")), "sha256 through the mount")

	dir := harness.TempDir(t)
	local := filepath.Join(dir, "ckpt")
	require.Equal(t, sum, writeCheckpoint(t, local))
	harness.Run(t, client(d, python, "testdata/upload.py", local, "models", "step-2.pt"))
	require.Equal(t, sum, hashFile(t, filepath.Join(d.Mount, "models", "step-2.pt")), "sha256 of what boto3 uploaded")
}

// writeCheckpoint writes the checkpoint with fsync and returns its hash; each call writes the same.
func writeCheckpoint(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	h := sha256.New()
	src := rand.NewChaCha8([32]byte{1})
	buf := make([]byte, 1<<20)
	for written := 0; written < checkpointBytes; written += len(buf) {
		_, _ = src.Read(buf)
		_, _ = h.Write(buf)
		_, err := f.Write(buf)
		require.NoError(t, err)
	}
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	return hex.EncodeToString(h.Sum(nil))
}

func hashFile(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	require.NoError(t, err)
	require.EqualValues(t, checkpointBytes, n)
	return hex.EncodeToString(h.Sum(nil))
}

// TestBuildInsideMount clones a repository into the mount and builds, tests and commits there.
func TestBuildInsideMount(t *testing.T) {
	harness.NeedTools(t, "git", "go")
	d := harness.Start(t, harness.Options{})
	origin := makeRepository(t)
	work := filepath.Join(d.Mount, "work")
	require.NoError(t, os.Mkdir(work, 0o755))
	run := func(dir, name string, args ...string) string {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		// GOTMPDIR and GOCACHE inside: the tool chain's own files go through the mount too.
		cmd.Env = append(os.Environ(), gitIdentity()...)
		cmd.Env = append(cmd.Env, "GOFLAGS=-mod=mod", "GOCACHE="+filepath.Join(work, "cache"), "GOTMPDIR="+work, "GOWORK=off")
		return harness.Run(t, cmd)
	}
	run(work, "git", "clone", "--no-local", origin, "repo")
	repo := filepath.Join(work, "repo")
	run(repo, "git", "fsck", "--full", "--strict")
	run(repo, "go", "build", "-o", "prog", ".")
	require.Equal(t, "built in the mount\n", run(repo, "./prog"))
	run(repo, "go", "test", "./...")
	require.NoError(t, os.WriteFile(filepath.Join(repo, "NOTES"), []byte("more\n"), 0o644))
	run(repo, "git", "add", "NOTES")
	run(repo, "git", "commit", "-q", "-m", "notes")
	run(repo, "git", "gc", "-q", "--prune=now")
	run(repo, "git", "fsck", "--full", "--strict")
	require.Contains(t, run(repo, "git", "status", "--porcelain"), "prog")
}

func gitIdentity() []string {
	return []string{
		"GIT_AUTHOR_NAME=e2e", "GIT_AUTHOR_EMAIL=e2e@example.invalid",
		"GIT_COMMITTER_NAME=e2e", "GIT_COMMITTER_EMAIL=e2e@example.invalid", "GIT_CONFIG_GLOBAL=/dev/null",
	}
}

// makeRepository is a small Go project with some history and a few hundred files.
func makeRepository(t *testing.T) string {
	t.Helper()
	dir := harness.TempDir(t)
	files := map[string]string{
		"go.mod":       "module example.invalid/prog\n\ngo 1.24\n",
		"main.go":      "package main\n\nimport \"example.invalid/prog/text\"\n\nfunc main() { println2(text.Line) }\n",
		"out.go":       "package main\n\nimport \"fmt\"\n\nfunc println2(s string) { fmt.Println(s) }\n",
		"main_test.go": "package main\n\nimport \"testing\"\n\nfunc TestIt(t *testing.T) { println2(\"x\") }\n",
		"text/text.go": "// Package text has a line.\npackage text\n\nconst Line = \"built in the mount\"\n",
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		name := filepath.Join("data", string(rune('a'+rng.IntN(26))), hex.EncodeToString([]byte{byte(rng.Uint32()), byte(rng.Uint32())}))
		files[name] = strings.Repeat(name+"\n", rng.IntN(2000))
	}
	git := func(args ...string) {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), gitIdentity()...)
		harness.Run(t, cmd)
	}
	git("init", "-q", "-b", "main")
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	git("add", ".")
	git("commit", "-q", "-m", "all")
	return dir
}
