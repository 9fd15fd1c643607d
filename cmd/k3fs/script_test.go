package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// exitCodeIs runs a command and checks its exit code; stdout and stderr then look at its output:
// exit-code 78 k3fs serve.
func exitCodeIs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit-code N command [arguments]")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = strconv.Itoa(exit.ExitCode())
	} else {
		ts.Check(err)
	}
	if got != args[0] {
		ts.Fatalf("exit code %s instead of %s", got, args[0])
	}
}

// sigterm sends SIGTERM to the script's background command.
func sigterm(ts *testscript.TestScript, neg bool, args []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	}
}

// within waits until the background command has ended: within 10s.
func within(ts *testscript.TestScript, neg bool, args []string) {
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	begun := time.Now()
	for _, cmd := range ts.BackgroundCmds() {
		for !errors.Is(cmd.Process.Signal(syscall.Signal(0)), os.ErrProcessDone) {
			if time.Since(begun) > limit {
				ts.Fatalf("%v still runs after %s", cmd.Args, limit)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// modeIs checks the permissions of files: mode 600 file...
func modeIs(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args[1:] {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if got := fmt.Sprintf("%o", info.Mode().Perm()); (got == args[0]) == neg {
			ts.Fatalf("%s has mode %s", name, got)
		}
	}
}

// httpGet asks for a URL until it answers with the status, up to 10 s, and leaves the body in FILE:
// http-get 200 FILE URL.
func httpGet(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	client := &http.Client{Timeout: 5 * time.Second}
	last := "no answer"
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		resp, err := client.Get(args[2])
		if err != nil {
			last = err.Error()
			continue
		}
		body, err := io.ReadAll(resp.Body)
		ts.Check(err)
		ts.Check(resp.Body.Close())
		if resp.StatusCode == want {
			ts.Check(os.WriteFile(ts.MkAbs(args[1]), body, 0o600))
			return
		}
		last = resp.Status
	}
	ts.Fatalf("%s: %s instead of %d", args[2], last, want)
}

// flipBytes inverts a byte in the middle of each file.
func flipBytes(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		raw, err := os.ReadFile(ts.MkAbs(name))
		ts.Check(err)
		raw[len(raw)/2] ^= 0x01
		ts.Check(os.WriteFile(ts.MkAbs(name), raw, 0o600))
	}
}
