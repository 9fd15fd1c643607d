package control

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"k3fs/tenancy"
)

// maxClients bounds the connections at a time; more wait.
const maxClients = 64

// acceptPause is how long to wait after a failed accept.
const acceptPause = 100 * time.Millisecond

// Caller is who asks.
type Caller struct {
	UID, GID  int               // of the process, as the kernel says
	Who       tenancy.Principal // whom the access key acts for; zero without one
	AccessKey string
}

// Administrator reports whether the caller administers this host, or runs the daemon.
func (c Caller) Administrator() bool { return c.UID == 0 || c.UID == os.Geteuid() }

// Server answers requests.
type Server struct {
	// Authenticate is that of tenancy: for an access key its secret, or an error with a decoy.
	Authenticate func(ctx context.Context, accessKey string) ([]string, tenancy.Principal, error)
	// Handle does what is asked. dir, which may be nil, is closed afterwards.
	Handle func(ctx context.Context, c Caller, r Request, dir *os.File) (Reply, error)
	Logger *slog.Logger

	mu        sync.Mutex
	listeners []*Listener // guarded by mu
	ended     bool        // guarded by mu
	running   sync.WaitGroup
}

// ErrTaken: another daemon listens there.
var ErrTaken = errors.New("another daemon listens there")

// Listener is a socket with its path, which Close removes.
type Listener struct {
	*net.UnixListener
	path string
}

// Close stops listening and removes the socket.
func (l *Listener) Close() error {
	err := os.Remove(l.path)
	if errors.Is(err, os.ErrNotExist) { // somebody cleaned up, or another daemon started at the same time
		err = nil
	}
	return errors.Join(err, l.UnixListener.Close())
}

// Listen opens a socket at path and serves it.
func (s *Server) Listen(path string, mode os.FileMode) error {
	at, err := Listen(path, mode)
	if err != nil {
		return err
	}
	return s.Serve(at)
}

// Listen opens the socket at path, with mode, in place of one that nobody listens at any more: ErrTaken if
// somebody does.
func Listen(path string, mode os.FileMode) (at *Listener, err error) {
	err = reach(path, func(short string) error {
		if conn, err := net.DialTimeout("unix", short, handshakeTime); err == nil {
			return errors.Join(ErrTaken, conn.Close())
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		if err != nil {
			return err
		}
		l.SetUnlinkOnClose(false) // its name is good only now
		at = &Listener{l, path}
		if err := os.Chmod(path, mode); err != nil {
			return errors.Join(err, at.Close())
		}
		return nil
	})
	return at, err
}

// Serve answers requests at a socket, and closes it in the end.
func (s *Server) Serve(l *Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return errors.Join(net.ErrClosed, l.Close())
	}
	s.listeners = append(s.listeners, l)
	s.running.Go(func() {
		free := make(chan struct{}, maxClients)
		for {
			free <- struct{}{}
			c, err := l.AcceptUnix()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // out of descriptors, say
				s.Logger.Warn("the control socket does not accept", "err", err)
				time.Sleep(acceptPause)
				<-free
				continue
			}
			s.running.Go(func() {
				defer func() { <-free }()
				s.talk(c)
			})
		}
	})
	return nil
}

// Close stops listening and removes the sockets, and waits for the requests under way until ctx ends.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.ended = true
	var errs []error
	for _, l := range s.listeners {
		errs = append(errs, l.Close())
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	return errors.Join(errs...)
}

// talk answers the one request of a connection.
func (s *Server) talk(c *net.UnixConn) {
	defer c.Close()
	reply, err := s.answer(c)
	if err != nil {
		reply = Reply{Code: Failed, Error: err.Error()}
		var e *Error
		if errors.As(err, &e) {
			reply.Code = e.Code
		}
	}
	_ = c.SetDeadline(time.Now().Add(handshakeTime))
	_ = send(c, reply, nil)
}

func (s *Server) answer(c *net.UnixConn) (Reply, error) {
	if err := c.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return Reply{}, err
	}
	peer, err := peerOf(c)
	if err != nil {
		return Reply{}, err
	}
	hello := Hello{Protocol: protocol, Nonce: make([]byte, nonceBytes)}
	rand.Read(hello.Nonce) // never fails
	if err := send(c, hello, nil); err != nil {
		return Reply{}, err
	}
	var envelope sealed
	dir, err := receive(c, &envelope)
	if err != nil {
		return Reply{}, Errorf(Usage, "the request can't be read: %v", err)
	}
	if dir != nil {
		defer dir.Close()
	}
	var r Request
	if err := json.Unmarshal(envelope.Request, &r); err != nil {
		return Reply{}, Errorf(Usage, "the request can't be read: %v", err)
	}
	ctx := context.Background() // what has begun runs to its end
	caller := Caller{UID: int(peer.Uid), GID: int(peer.Gid)}
	if r.AccessKey != "" {
		if caller.Who, err = s.authenticate(ctx, r.AccessKey, hello.Nonce, envelope); err != nil {
			s.Logger.Warn("refused at the control socket", "access_key", r.AccessKey, "uid", caller.UID)
			return Reply{}, err
		}
		caller.AccessKey = r.AccessKey
	}
	return s.Handle(ctx, caller, r, dir)
}

// authenticate makes sure that the client knows the access key's secret. An access key that does not exist is
// refused after the same work and in the same words as a wrong secret.
func (s *Server) authenticate(ctx context.Context, accessKey string, nonce []byte, e sealed) (tenancy.Principal, error) {
	secrets, who, err := s.Authenticate(ctx, accessKey)
	right := slices.ContainsFunc(secrets, func(secret string) bool { return hmac.Equal(mac(secret, nonce, e.Request), e.MAC) })
	switch {
	case err != nil && !errors.Is(err, tenancy.ErrNoSuchKey) && !errors.Is(err, tenancy.ErrSuspended):
		return tenancy.Principal{}, err
	case err != nil || !right:
		return tenancy.Principal{}, Errorf(Denied, "the access key %q or its secret is wrong", accessKey)
	}
	return who, nil
}
