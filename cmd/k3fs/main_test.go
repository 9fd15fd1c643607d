package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/daemon"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"k3fs": main})
}

// TestScripts runs the command lines in testdata, with the commands of script_test.go.
func TestScripts(t *testing.T) { runScripts(t, "testdata") }

// TestMountScripts runs those that mount. CI must be able to.
func TestMountScripts(t *testing.T) {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err == nil {
		err = f.Close()
	}
	if err == nil && os.Geteuid() != 0 {
		err = errors.New("not root")
	}
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("can't mount here: %v", err)
	}
	require.NoError(t, err)
	runScripts(t, "testdata/mount")
}

func runScripts(t *testing.T, dir string) {
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"sigterm":    sigterm,
			"within":     within,
			"exit-code":  exitCodeIs,
			"mode":       modeIs,
			"http-get":   httpGet,
			"flip-bytes": flipBytes,
		},
	})
}

// setup gives each script two free addresses, and unmounts what it leaves mounted when it fails.
func setup(env *testscript.Env) error {
	for _, name := range []string{"S3", "ADMIN"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		env.Setenv(name, l.Addr().String())
		if err := l.Close(); err != nil {
			return err
		}
	}
	env.Defer(func() { _ = unix.Unmount(filepath.Join(env.WorkDir, "mnt"), unix.MNT_DETACH) })
	return nil
}

func TestEveryFlagOfServeIsAKey(t *testing.T) {
	keys := daemon.Keys()
	flags := newServe().Flags()
	for name, key := range flagKeys {
		require.NotNil(t, flags.Lookup(name), name)
		require.Contains(t, keys, key)
	}
}
