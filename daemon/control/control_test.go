package control

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/tenancy"
)

const (
	testKey    = "K3TEST"
	testSecret = "a-secret-of-the-test"
)

// serving returns the path of a socket whose server knows one access key, and what it was asked.
func serving(t *testing.T) (socket string, asked func() []Caller) {
	t.Helper()
	var mu sync.Mutex
	var callers []Caller
	s := &Server{
		Logger: slog.New(slog.DiscardHandler),
		Authenticate: func(_ context.Context, key string) ([]string, tenancy.Principal, error) {
			if key != testKey {
				return []string{"decoy"}, tenancy.Principal{}, tenancy.ErrNoSuchKey
			}
			return []string{"another-secret", testSecret}, tenancy.Root(7), nil
		},
		Handle: func(_ context.Context, c Caller, r Request, dir *os.File) (Reply, error) {
			mu.Lock()
			callers = append(callers, c)
			mu.Unlock()
			if r.Op == OpUmount {
				return Reply{}, Errorf(Busy, "%s is in use", r.Dir)
			}
			if dir == nil {
				return Reply{}, errors.New("no directory")
			}
			info, err := dir.Stat()
			if err != nil {
				return Reply{}, err
			}
			return Reply{Dir: info.Name() + " " + r.Source}, nil
		},
	}
	socket = filepath.Join(t.TempDir(), strings.Repeat("long", 30), SocketName) // longer than a socket's name may be
	require.NoError(t, os.Mkdir(filepath.Dir(socket), 0o700))
	require.NoError(t, s.Listen(socket, 0o600))
	t.Cleanup(func() {
		require.NoError(t, s.Close(t.Context()))
		_, err := os.Stat(socket)
		require.ErrorIs(t, err, os.ErrNotExist)
	})
	return socket, func() []Caller {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(callers)
	}
}

func TestAsk(t *testing.T) {
	socket, asked := serving(t)
	dir, err := os.Open(t.TempDir())
	require.NoError(t, err)
	defer dir.Close()
	reply, err := Ask(t.Context(), socket, Request{Op: OpMount, Source: "b/p", AccessKey: testKey}, testSecret, dir)
	require.NoError(t, err)
	require.Equal(t, "passed b/p", reply.Dir)
	require.Equal(t, []Caller{{UID: os.Getuid(), GID: os.Getgid(), Who: tenancy.Root(7), AccessKey: testKey}}, asked())

	_, err = Ask(t.Context(), socket, Request{Op: OpUmount, Dir: "/x"}, "", nil)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, &Error{Code: Busy, Text: "/x is in use"}, e)
	require.Zero(t, asked()[1].Who, "without an access key nobody is authenticated")
}

// An unknown access key and a wrong secret are refused in the same words, and neither is handled.
func TestAskWithWrongCredentials(t *testing.T) {
	socket, asked := serving(t)
	var texts []string
	for _, c := range [][2]string{{testKey, "wrong"}, {testKey, ""}, {"OTHER1", testSecret}, {"OTHER1", "decoy"}} {
		_, err := Ask(t.Context(), socket, Request{Op: OpMount, AccessKey: c[0]}, c[1], nil)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, Denied, e.Code)
		texts = append(texts, strings.ReplaceAll(e.Text, c[0], "KEY"))
	}
	for _, text := range texts {
		require.Equal(t, texts[0], text)
	}
	require.Empty(t, asked())
}

// A seal is good for one connection and one request.
func TestSealsAreNotTransferable(t *testing.T) {
	one := mac(testSecret, []byte("nonce 1"), []byte("request 1"))
	require.NotEqual(t, one, mac(testSecret, []byte("nonce 2"), []byte("request 1")))
	require.NotEqual(t, one, mac(testSecret, []byte("nonce 1"), []byte("request 2")))
	require.NotEqual(t, one, mac("another-secret", []byte("nonce 1"), []byte("request 1")))
}

func TestHostileClients(t *testing.T) {
	socket, asked := serving(t)
	for name, raw := range map[string][]byte{
		"too long":   binary.BigEndian.AppendUint32(nil, 1<<31),
		"no JSON":    append(binary.BigEndian.AppendUint32(nil, 3), "{{{"...),
		"no request": append(binary.BigEndian.AppendUint32(nil, 2), "{}"...),
	} {
		t.Run(name, func(t *testing.T) {
			err := reach(socket, func(short string) error {
				conn, err := net.Dial("unix", short)
				require.NoError(t, err)
				c := conn.(*net.UnixConn)
				defer c.Close()
				var hello Hello
				_, err = receive(c, &hello)
				require.NoError(t, err)
				_, err = c.Write(raw)
				require.NoError(t, err)
				var reply Reply
				_, err = receive(c, &reply)
				require.NoError(t, err)
				require.Equal(t, Usage, reply.Code)
				return nil
			})
			require.NoError(t, err)
		})
	}
	require.Empty(t, asked())
}

func TestTwoServersOnOneSocket(t *testing.T) {
	socket, _ := serving(t)
	other := &Server{Logger: slog.New(slog.DiscardHandler)}
	require.ErrorIs(t, other.Listen(socket, 0o600), ErrTaken)
	require.NoError(t, other.Close(t.Context()))

	left := filepath.Join(t.TempDir(), "left")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: left, Net: "unix"})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	again := &Server{Logger: slog.New(slog.DiscardHandler)}
	require.NoError(t, again.Listen(left, 0o600), "its daemon was killed")
	require.NoError(t, os.Remove(left)) // by somebody else: no reason to fail at the end
	require.NoError(t, again.Close(t.Context()))
}

func TestNoDaemon(t *testing.T) {
	_, err := Ask(t.Context(), filepath.Join(t.TempDir(), "none"), Request{}, "", nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestAskEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mute")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = Ask(ctx, path, Request{}, "", nil)
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF)
}
