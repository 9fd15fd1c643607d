// Package control is how commands on the same host ask the daemon for mounts: a protocol over a unix socket,
// with both its ends. It knows what a mount's options mean, but mounts nothing.
//
// # Protocol
//
// A message is a length (4 bytes, big endian) and that much JSON. The daemon begins with a Hello that holds a
// nonce. The client sends one Request, sealed with an HMAC of nonce and request under its secret key, so
// that the secret stays at home, a request can't be changed, and an answer that was overheard is of no use
// later. With a mount comes the directory, opened by the client with its own permissions: no path is
// resolved by the daemon on behalf of others. The daemon answers with one Reply.
//
// Who calls, as a user of the host, the kernel says (SO_PEERCRED); for whom, the access key.
package control

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is where a daemon that runs as root listens unless it is told otherwise.
const Socket = "/run/k3fs/control.sock"

// AdminSocket is where the admin API of a daemon that runs as root listens unless it is told otherwise, and
// AdminSocketName is its socket in the data directory.
const (
	AdminSocket     = "/run/k3fs/admin.sock"
	AdminSocketName = "admin.sock"
)

// SocketName is the name of the socket that every daemon has in its data directory.
const SocketName = "control.sock"

const (
	protocol   = 1
	maxMessage = 1 << 20 // a table of accounts has thousands of lines
	nonceBytes = 32

	// handshakeTime is how long a client may take until its request is there.
	handshakeTime = 10 * time.Second
)

// The operations.
const (
	OpMount  = "mount"
	OpUmount = "umount"
)

// Hello is the daemon's first message.
type Hello struct {
	Protocol int
	Nonce    []byte
}

// Request is what a client asks for.
type Request struct {
	Op        string
	AccessKey string // whose secret seals the request; empty: the caller is the host's administrator
	Source    string // of a mount: BUCKET, BUCKET/PREFIX, or / for all buckets
	Dir       string // of an unmount: the mount point
	Options   Options
	Lazy      bool // unmount: detach although it is in use
}

// sealed is a request on the wire.
type sealed struct {
	Request json.RawMessage
	MAC     []byte
}

// Reply is the daemon's answer.
type Reply struct {
	Dir     string // where it is mounted
	Warning string `json:",omitempty"` // what the user should know although it worked
	Code    Code
	Error   string
}

// Code says what kind of failure a Reply tells of.
type Code string

// The codes. The empty one is success.
const (
	OK     Code = ""
	Usage  Code = "usage"  // the request makes no sense
	Denied Code = "denied" // who asks may not
	Busy   Code = "busy"   // the mount is in use
	Absent Code = "absent" // no such bucket, directory or mount
	Failed Code = "failed" // it did not work
)

// Error is a refused or failed request.
type Error struct {
	Code Code
	Text string
}

func (e *Error) Error() string { return e.Text }

// Errorf makes an *Error.
func Errorf(c Code, format string, args ...any) error {
	return &Error{Code: c, Text: fmt.Sprintf(format, args...)}
}

// mac proves that whoever made it knows the secret.
func mac(secret string, nonce, request []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte("k3fs control 1\n"))
	h.Write(nonce)
	h.Write(request)
	return h.Sum(nil)
}

// send writes one message, with a file if there is one.
func send(c *net.UnixConn, message any, file *os.File) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(body) > maxMessage {
		return fmt.Errorf("a message of %d bytes is too long", len(body))
	}
	raw := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
	}
	n, _, err := c.WriteMsgUnix(raw, rights, nil)
	if err == nil && n < len(raw) {
		_, err = c.Write(raw[n:])
	}
	return err
}

// receive reads one message, and the file that came with it, if one did.
func receive(c *net.UnixConn, message any) (file *os.File, err error) {
	defer func() {
		if err != nil && file != nil {
			err = errors.Join(err, file.Close())
			file = nil
		}
	}()
	head, rights := make([]byte, 4), make([]byte, unix.CmsgSpace(4*4))
	n, rn, _, _, err := c.ReadMsgUnix(head, rights)
	if err != nil {
		return nil, err
	}
	if file, err = passed(rights[:rn]); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(c, head[n:]); err != nil {
		return file, err
	}
	size := binary.BigEndian.Uint32(head)
	if size > maxMessage {
		return file, fmt.Errorf("a message of %d bytes is too long", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c, body); err != nil {
		return file, err
	}
	return file, json.Unmarshal(body, message)
}

// passed takes the one file out of a control message, and closes any others.
func passed(rights []byte) (*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	var fds []int
	for _, m := range messages {
		got, err := unix.ParseUnixRights(&m)
		if err == nil {
			fds = append(fds, got...)
		}
	}
	for i, fd := range fds {
		unix.CloseOnExec(fd)
		if i > 0 {
			_ = unix.Close(fd)
		}
	}
	if len(fds) == 0 {
		return nil, nil
	}
	return os.NewFile(uintptr(fds[0]), "passed"), nil
}

// reach makes a path that bind(2) and connect(2) can take, whose limit is 108 bytes: by way of its directory.
func reach(path string, use func(short string) error) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return use(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}
