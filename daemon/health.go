package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"k3fs/fusefs"
	"k3fs/metastore"
)

// probeTimeout is how long a probe of a store or a door may take before it counts as hung.
const probeTimeout = 5 * time.Second

// phase is where the daemon is in its life.
type phase int32

const (
	starting phase = iota
	serving
	stopping
)

// health knows whether the daemon serves. Its cheap part (Ready) is asked by every probe of a load
// balancer; its thorough part (Probe) by the watchdog.
type health struct {
	phase   atomic.Int32
	drained atomic.Bool                     // an operator wants nothing new to begin
	stopped []<-chan struct{}               // closed by a store that stopped after a failed write
	gone    atomic.Pointer[<-chan struct{}] // closed when the mount is gone; nil before there is one
	kv      metastore.Store
	point   string // the mount point, or ""

	mu      sync.Mutex
	probing chan struct{} // of a statfs under way, so that a hung mount costs one goroutine
	last    error         // guarded by mu: what the last statfs said
}

func (h *health) set(p phase) { h.phase.Store(int32(p)) }

var (
	errStarting = errors.New("starting")
	errStopping = errors.New("stopping")
	errDraining = errors.New("draining: 'k3fs maintenance undrain' ends it")
	errFailed   = errors.New("a write to the disk failed; restart to go on")
	errGone     = errors.New("the mount was taken away")
)

// Failed returns why the daemon can't go on, or nil.
func (h *health) Failed() error {
	for _, c := range h.stopped {
		select {
		case <-c:
			return errFailed
		default:
		}
	}
	select {
	case <-h.goneC():
		return errGone
	default:
	}
	return nil
}

// goneC is closed when the mount is gone; nil, which blocks for ever, without one.
func (h *health) goneC() <-chan struct{} {
	if c := h.gone.Load(); c != nil {
		return *c
	}
	return nil
}

// Ready returns why requests should not be sent here now, or nil. It does no I/O.
func (h *health) Ready() error {
	switch phase(h.phase.Load()) {
	case starting:
		return errStarting
	case stopping:
		return errStopping
	}
	if h.drained.Load() {
		return errDraining
	}
	return h.Failed()
}

// Probe returns why the daemon does not work, or nil: the metastore must answer a read and the mount a
// statfs, each in time.
func (h *health) Probe(ctx context.Context) error {
	if err := h.Failed(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err := h.kv.View(ctx, func(r metastore.Reader) error {
		_, err := r.Get([]byte{'t', 's'})
		return err
	})
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	return h.probeMount(ctx)
}

// probeMount asks the kernel, and through it our door, about the mount.
func (h *health) probeMount(ctx context.Context) error {
	if h.point == "" {
		return nil
	}
	h.mu.Lock()
	done := h.probing
	if done == nil {
		done = make(chan struct{})
		h.probing = done
		go func() {
			err := fusefs.Probe(h.point)
			h.mu.Lock()
			h.last, h.probing = err, nil
			h.mu.Unlock()
			close(done)
		}()
	}
	h.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("mount %s does not answer: %w", h.point, ctx.Err())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last != nil {
		return fmt.Errorf("mount %s: %w", h.point, h.last)
	}
	return nil
}
