package adminapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// peer is the user at the other end of a unix socket, as the kernel says: the remote address of its connections.
type peer struct{ uid uint32 }

// Network implements net.Addr.
func (peer) Network() string { return "unix" }

func (p peer) String() string { return fmt.Sprintf("uid %d", p.uid) }

// PeerListener makes a unix socket's connections tell who is at their other end.
func PeerListener(l net.Listener) net.Listener { return peerListener{l} }

type peerListener struct{ net.Listener }

// Accept implements net.Listener. A connection whose other end is unknown, since it is gone, is closed.
func (l peerListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if p, err := peerOf(c); err == nil {
			return peerConn{c, p}, nil
		}
		_ = c.Close()
	}
}

type peerConn struct {
	net.Conn
	peer peer
}

// RemoteAddr implements net.Conn.
func (c peerConn) RemoteAddr() net.Addr { return c.peer }

func peerOf(c net.Conn) (peer, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return peer{}, errors.New("no unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var cred *unix.Ucred
	var failed error
	if err = raw.Control(func(fd uintptr) { cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err == nil {
		err = failed
	}
	if err != nil {
		return peer{}, err
	}
	return peer{cred.Uid}, nil
}

// peerKey is the key of a peer in the context of its connection.
type peerKey struct{}

// WithPeer is http.Server.ConnContext: it notes whom a connection of a PeerListener comes from.
func WithPeer(ctx context.Context, c net.Conn) context.Context {
	if p, ok := c.RemoteAddr().(peer); ok {
		return context.WithValue(ctx, peerKey{}, p)
	}
	return ctx
}

// Administrator reports whether a request comes from who administers the host, or runs the daemon, over its socket.
func Administrator(ctx context.Context) bool {
	p, ok := ctx.Value(peerKey{}).(peer)
	return ok && (p.uid == 0 || int(p.uid) == os.Geteuid())
}
