package main

import (
	"net"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"k3fs/daemon"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"k3fs": main})
}

// TestScripts runs the command lines in testdata, with the commands of script_test.go.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
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
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"sigterm":    sigterm,
			"exit-code":  exitCodeIs,
			"mode":       modeIs,
			"http-get":   httpGet,
			"flip-bytes": flipBytes,
		},
	})
}

func TestEveryFlagOfServeIsAKey(t *testing.T) {
	keys := daemon.Keys()
	flags := newServe().Flags()
	for name, key := range flagKeys {
		require.NotNil(t, flags.Lookup(name), name)
		require.Contains(t, keys, key)
	}
}
