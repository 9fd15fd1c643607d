package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/namespace"
)

// jobs is long work that an operator asked for, of which one runs at a time.
type jobs struct {
	mu      sync.Mutex
	running *job // guarded by mu
	closed  bool // guarded by mu
}

// job is one of them.
type job struct {
	kind   string
	cancel context.CancelCauseFunc
	over   chan struct{} // closed when it has ended

	mu    sync.Mutex
	state adminv1.Job // guarded by mu
}

var (
	errJobStopped = errors.New("it was stopped")
	errJobClosing = errors.New("the daemon stopped")
)

// start runs work, until it returns or is stopped.
func (s *jobs) start(kind string, work func(ctx context.Context, j *job) error) (*job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, &namespace.Error{Op: kind, Kind: namespace.Unavailable, Err: errJobClosing}
	}
	if s.running != nil {
		return nil, &namespace.Error{Op: kind, Kind: namespace.Busy, Err: fmt.Errorf("a %s is under way: wait for it, or stop it", s.running.kind)}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	j := &job{kind: kind, cancel: cancel, over: make(chan struct{})}
	j.state.Running, j.state.Began = true, timestamppb.Now()
	s.running = j
	go func() {
		defer close(j.over)
		defer cancel(nil)
		err := work(ctx, j)
		if ctx.Err() != nil && err != nil {
			err = context.Cause(ctx)
		}
		s.mu.Lock()
		s.running = nil
		s.mu.Unlock()
		j.mu.Lock()
		defer j.mu.Unlock()
		j.state.Running, j.state.Ended = false, timestamppb.Now()
		if err != nil {
			j.state.Trouble = err.Error()
		}
	}()
	return j, nil
}

// stop ends a kind of work, if it runs, and returns when it has ended.
func (s *jobs) stop(ctx context.Context, kind string) error {
	s.mu.Lock()
	j := s.running
	s.mu.Unlock()
	if j == nil || j.kind != kind {
		return nil
	}
	j.cancel(errJobStopped)
	select {
	case <-j.over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close ends what runs, and lets nothing begin any more.
func (s *jobs) close(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	j := s.running
	s.mu.Unlock()
	if j == nil {
		return
	}
	j.cancel(errJobClosing)
	select {
	case <-j.over:
	case <-ctx.Done():
	}
}

// at says what the job is at, and how far.
func (j *job) at(phase string, done, of int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.state.Phase, j.state.DoneBytes, j.state.OfBytes = phase, done, of
}

// shown is how far it is.
func (j *job) shown() *adminv1.Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := &j.state
	return &adminv1.Job{Running: s.Running, Began: s.Began, Ended: s.Ended, Phase: s.Phase, DoneBytes: s.DoneBytes, OfBytes: s.OfBytes, Trouble: s.Trouble}
}

// took is how long it has run.
func (j *job) took() time.Duration { return time.Since(j.state.Began.AsTime()) } // which never changes
