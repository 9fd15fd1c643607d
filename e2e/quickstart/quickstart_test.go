// Package quickstart follows docs/quickstart.md as a new user does: it runs all commands that are there, and compares
// what they print with what the document shows.
package quickstart

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

// block is one of the document's: commands, or what those before it print.
type block struct{ language, text string }

// host is what the document's commands run on. Addresses and directories are others than it names, and "sudo" is
// nothing: the test is root, and who reads is user 65534.
type host struct {
	t     *testing.T
	dir   string
	named *strings.Replacer
	s3    string
	env   []string
}

func newHost(t *testing.T) *host {
	harness.NeedMount(t)
	harness.NeedTools(t, "aws", "curl", "make", "setpriv")
	dir := harness.TempDir(t)
	require.NoError(t, os.Chmod(dir, 0o755))
	at := func(name string) string { return filepath.Join(dir, name) }
	d, err := harness.NewDaemon(harness.Options{Dir: dir}) // for its free ports
	require.NoError(t, err)
	h := &host{t: t, dir: dir, s3: d.S3, named: strings.NewReplacer("/srv/k3fs", at("data"), "127.0.0.1:9000", d.S3, "127.0.0.1:9001", d.Admin)}
	h.env = append(os.Environ(), "PREFIX="+at("usr"), "SYSCONFDIR="+at("etc"), "SBINDIR="+at("sbin"), "PATH="+at("usr/bin")+":"+os.Getenv("PATH"),
		"K3FS_S3__LISTEN="+d.S3, "K3FS_ADMIN__LISTEN="+d.Admin, "K3FS_ADMIN__SOCKET="+at("admin.sock"), "K3FS_CONTROL__LISTEN="+at("control.sock"))
	require.NoError(t, os.Mkdir(at("home"), 0o700))
	require.NoError(t, os.Chown(at("home"), 65534, 65534))
	return h
}

// asUser is a command by who reads, for a shell of root's.
func (h *host) asUser(command string) string {
	return "setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=" + h.dir + "/home XDG_CONFIG_HOME= sh -c '" +
		strings.ReplaceAll("cd; "+command, "'", `'\''`) + "'"
}

// shell translates a line: what follows sudo is root's, as is make, all else the user's.
func (h *host) shell(line string) string {
	line, mark, _ := strings.Cut(line, "  # ")
	var parts []string
	for part := range strings.SplitSeq(h.named.Replace(strings.TrimSpace(line)), " | ") {
		command, root := strings.CutPrefix(part, "sudo ")
		if !root && !strings.HasPrefix(part, "make ") {
			command = h.asUser(part)
		}
		parts = append(parts, command)
	}
	line = strings.Join(parts, " | ")
	if strings.TrimSpace(mark) == "refused" {
		line = "if " + line + "; then echo NOT REFUSED; exit 1; fi"
	}
	return line + "\n"
}

// run runs a block of commands and returns what they print.
func (h *host) run(text string) string {
	script := "set -eo pipefail\n"
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "sudo k3fs serve ") {
			h.serve(h.shell(line))
			continue
		}
		script += h.shell(line)
	}
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir, cmd.Env = harness.ModuleRoot(), h.env
	out, err := cmd.CombinedOutput()
	require.NoError(h.t, err, "%s\n%s", text, out)
	return string(out)
}

// serve starts the daemon, which ends with the test, and waits until it is ready.
func (h *host) serve(line string) {
	log, err := os.Create(filepath.Join(h.dir, "log"))
	require.NoError(h.t, err)
	cmd := exec.Command("bash", "-c", "exec "+line)
	cmd.Env, cmd.Stdout, cmd.Stderr = h.env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	require.NoError(h.t, cmd.Start())
	h.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		err := cmd.Wait()
		if _ = log.Close(); err != nil || h.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			h.t.Errorf("the daemon ended: %v\n%s", err, text)
		}
		_ = syscall.Unmount(filepath.Join(h.dir, "home/models"), syscall.MNT_DETACH)
	})
	require.Eventually(h.t, func() bool {
		r, err := http.Get("http://" + h.s3 + "/-/healthz")
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	}, time.Minute, 50*time.Millisecond)
}

var fence = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

func TestQuickstart(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(harness.ModuleRoot(), "docs/quickstart.md"))
	require.NoError(t, err)
	var blocks []block
	for _, m := range fence.FindAllStringSubmatch(string(raw), -1) {
		blocks = append(blocks, block{m[1], m[2]})
	}
	require.Greater(t, len(blocks), 10)
	h := newHost(t)
	printed := ""
	for _, b := range blocks {
		switch b.language {
		case "sh":
			printed = h.run(b.text)
		case "text":
			require.Regexp(t, "^"+strings.ReplaceAll(regexp.QuoteMeta(b.text), `\.\.\.`, `[^\n]*`)+"$", printed)
		default:
			t.Fatalf("what is a block in %s?", b.language)
		}
	}
	require.Empty(t, strings.TrimSpace(h.run("ls ~/models")), "unmounted")
}
