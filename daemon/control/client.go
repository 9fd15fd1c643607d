package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Ask sends a request to the daemon that listens at socket, and returns its answer. dir goes with it if it is
// not nil. A refused or failed request is an *Error.
func Ask(ctx context.Context, socket string, r Request, secret string, dir *os.File) (Reply, error) {
	var reply Reply
	err := reach(socket, func(short string) error {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", short)
		if err != nil {
			return err
		}
		c := conn.(*net.UnixConn)
		defer c.Close()
		stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
		defer stop()
		if err := trusted(c); err != nil {
			return err
		}
		reply, err = talk(c, r, secret, dir)
		return err
	})
	if err != nil {
		return reply, fmt.Errorf("the daemon at %s: %w", socket, err)
	}
	if reply.Code != OK {
		return reply, &Error{Code: reply.Code, Text: reply.Error}
	}
	return reply, nil
}

func talk(c *net.UnixConn, r Request, secret string, dir *os.File) (Reply, error) {
	var hello Hello
	if _, err := receive(c, &hello); err != nil {
		return Reply{}, err
	}
	if hello.Protocol != protocol {
		return Reply{}, fmt.Errorf("it speaks version %d of the protocol, this program version %d", hello.Protocol, protocol)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return Reply{}, err
	}
	if err := send(c, sealed{Request: body, MAC: mac(secret, hello.Nonce, body)}, dir); err != nil {
		return Reply{}, err
	}
	var reply Reply
	_, err = receive(c, &reply)
	return reply, err
}

// Dial connects to a socket of the daemon, and makes sure that root or the caller itself is at the other end.
func Dial(ctx context.Context, socket string) (c net.Conn, err error) {
	err = reach(socket, func(short string) error {
		if c, err = new(net.Dialer).DialContext(ctx, "unix", short); err != nil {
			return err
		}
		if err := trusted(c.(*net.UnixConn)); err != nil {
			return errors.Join(fmt.Errorf("the daemon at %s: %w", socket, err), c.Close())
		}
		return nil
	})
	return c, err
}

// trusted makes sure that root or the caller itself is at the other end.
func trusted(c *net.UnixConn) error {
	peer, err := peerOf(c)
	if err != nil {
		return err
	}
	if peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		return fmt.Errorf("it is run by user %d, whom nobody told us to trust", peer.Uid)
	}
	return nil
}

func peerOf(c *net.UnixConn) (*unix.Ucred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err == nil {
		err = failed
	}
	return peer, err
}
