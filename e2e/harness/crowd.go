package harness

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Crowd is many connections to one endpoint that keep it from others: idle ones, which made a request and
// may make the next, and slow ones, which never come to the end of their header.
type Crowd struct {
	Addr string      // host:port
	TLS  *tls.Config // nil: no TLS
	Path string      // what an idle connection got before, a presigned URL's path and query

	idle   []net.Conn
	slow   sync.WaitGroup
	held   atomic.Int64
	cut    atomic.Int64
	closed chan struct{}
}

// NewCrowd is a crowd of nobody yet.
func NewCrowd(addr, path string, secure *tls.Config) *Crowd {
	return &Crowd{Addr: addr, Path: path, TLS: secure, closed: make(chan struct{})}
}

func (c *Crowd) dial() (net.Conn, error) {
	d := &net.Dialer{Timeout: 30 * time.Second}
	if c.TLS != nil {
		conn, err := tls.DialWithDialer(d, "tcp", c.Addr, c.TLS)
		if err != nil {
			return nil, err // and no interface of a nil *tls.Conn
		}
		return conn, nil
	}
	return d.Dial("tcp", c.Addr)
}

// Idle adds n connections, each of which has made one request.
func (c *Crowd) Idle(n int) error {
	conns, errs := make([]net.Conn, n), make([]error, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, 32) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if conns[i], errs[i] = c.dial(); errs[i] == nil {
					errs[i] = c.request(conns[i])
				}
			}
		})
	}
	wg.Wait()
	for _, conn := range conns {
		if conn != nil {
			c.idle = append(c.idle, conn)
		}
	}
	return errors.Join(errs...)
}

// request makes one request, and expects its success.
func (c *Crowd) request(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", c.Path, c.Addr); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
	if err != nil {
		return err
	}
	if _, err = io.Copy(io.Discard, res.Body); err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("an idle connection's request: %s", res.Status)
	}
	return err
}

// Again makes every idle connection make one more request.
func (c *Crowd) Again() error {
	for i, conn := range c.idle {
		if err := c.request(conn); err != nil {
			return fmt.Errorf("idle connection %d of %d: %w", i, len(c.idle), err)
		}
	}
	return nil
}

// Slow adds n connections that send one byte of a header each pause, and that come again once they are cut.
// It returns when all of them are there.
func (c *Crowd) Slow(n int, pause time.Duration) error {
	var wg sync.WaitGroup
	gate := make(chan struct{}, 32)
	errs := make([]error, n)
	for i := range n {
		wg.Add(1)
		c.slow.Go(func() {
			gate <- struct{}{}
			conn, err := c.begin()
			<-gate
			errs[i] = err
			wg.Done()
			for err == nil && c.drip(conn, pause, i) {
				conn, err = c.begin()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// begin opens a connection and begins a header.
func (c *Crowd) begin() (net.Conn, error) {
	conn, err := c.dial()
	if err != nil {
		return nil, err
	}
	c.held.Add(1)
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: k3fs\r\nX-Slow: ")
	return conn, err
}

// drip goes on with a header until the connection is cut, which it reports, or the crowd goes home.
func (c *Crowd) drip(conn net.Conn, pause time.Duration, i int) (cut bool) {
	defer c.held.Add(-1)
	defer conn.Close()
	wait := time.NewTimer(time.Duration(i%64) * pause / 64)
	defer wait.Stop()
	for {
		select {
		case <-c.closed:
			return false
		case <-wait.C:
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := conn.Write([]byte("s")); err != nil {
			c.cut.Add(1)
			return true
		}
		wait.Reset(pause)
	}
}

// Held is how many slow connections there are.
func (c *Crowd) Held() int64 { return c.held.Load() }

// Cut is how often the server has ended a slow connection.
func (c *Crowd) Cut() int64 { return c.cut.Load() }

// Close sends everybody home.
func (c *Crowd) Close() {
	close(c.closed)
	for _, conn := range c.idle {
		_ = conn.Close()
	}
	c.slow.Wait()
}
