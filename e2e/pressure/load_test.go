package pressure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

const bucketName = "pressure"

// content of every name: from a few bytes to what takes many writes.
func content(name string, most int) harness.Series {
	return harness.Series{Name: name, Min: 16, Max: most}
}

// system is a daemon with one bucket, and the names whose content was acknowledged as durable.
type system struct {
	*harness.Daemon
	t    *testing.T
	s3   *minio.Client
	most int // bytes of the largest content

	mu    sync.Mutex
	acked []string
	fails []error
}

func start(t *testing.T, o harness.Options, most int) *system {
	t.Helper()
	s := &system{Daemon: harness.Start(t, o), t: t, most: most}
	s.MakeBucket(t, bucketName)
	s.s3 = s.Client(t)
	return s
}

func (s *system) path(name string) string { return filepath.Join(s.Mount, bucketName, name) }

// note keeps the outcome of writing name: acknowledged, or an error.
func (s *system) note(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.acked = append(s.acked, name)
		return
	}
	s.fails = append(s.fails, fmt.Errorf("%s: %w", name, err))
}

// outcome returns the names acknowledged and the errors so far.
func (s *system) outcome() ([]string, []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.acked...), append([]error(nil), s.fails...)
}

// put writes name at the S3 door.
func (s *system) put(name string) error {
	body := content(name, s.most).Body(1)
	_, err := s.s3.PutObject(context.Background(), bucketName, name, bytes.NewReader(body), int64(len(body)),
		minio.PutObjectOptions{DisableMultipart: true})
	s.note(name, err)
	return err
}

// save writes name at the POSIX door, fsync included.
func (s *system) save(name string) error {
	err := save(s.path(name), content(name, s.most).Body(1))
	s.note(name, err)
	return err
}

func save(path string, body []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (s *system) get(name string) ([]byte, error) {
	o, err := s.s3.GetObject(context.Background(), bucketName, name, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	defer o.Close()
	return io.ReadAll(o)
}

func (s *system) read(name string) ([]byte, error) { return os.ReadFile(s.path(name)) }

// check reads what one door returns for name.
func (s *system) check(name string, door func(string) ([]byte, error)) error {
	b, err := door(name)
	if err != nil {
		return fmt.Errorf("%s was acknowledged: %w", name, err)
	}
	_, err = content(name, s.most).Check(b)
	return err
}

// verify reads everything acknowledged at both doors.
func (s *system) verify() {
	s.t.Helper()
	names, _ := s.outcome()
	for _, name := range names {
		require.NoError(s.t, s.check(name, s.get), "S3")
		require.NoError(s.t, s.check(name, s.read), "mount")
	}
}

// mixed lets writers write, each a name after the other, half of them at each door, and reads each content at
// the other door. A request that S3 refused is made again, as clients do.
func (s *system) mixed(writers, names int) {
	s.t.Helper()
	var wrong sync.Map
	all(s.t, writers, func(i int) {
		write, other := s.insist, s.read
		if i%2 == 0 {
			write, other = s.save, s.get
		}
		for n := range names {
			name := fmt.Sprintf("w%d-%d", i, n)
			err := write(name)
			if err == nil {
				err = s.check(name, other)
			}
			if err != nil {
				wrong.Store(name, err)
			}
		}
	})
	wrong.Range(func(name, err any) bool {
		s.t.Errorf("%s: %v", name, err)
		return true
	})
	require.False(s.t, s.t.Failed())
	acked, errs := s.outcome()
	s.t.Logf("%d acknowledged, %d refused at first, VmHWM %d MiB", len(acked), len(errs), s.PeakMemory()>>20)
}

// insist is put, tried a few times.
func (s *system) insist(name string) (err error) {
	for range 5 {
		if err = s.put(name); err == nil {
			break
		}
	}
	return err
}

// finish checks that the daemon still serves new writes at both doors and has lost nothing, before and
// after a restart, and that its files are sound.
func (s *system) finish() {
	s.t.Helper()
	require.True(s.t, s.Running(), "the daemon died")
	require.NoError(s.t, s.put("last-s3"))
	require.NoError(s.t, s.save("last-fs"))
	s.verify()
	s.MustStop(s.t)
	require.NoError(s.t, s.Fsck())
	s.MustStart(s.t)
	s.verify()
}

// limited is a program that takes limits upon itself, by shell commands, and becomes the daemon.
func limited(t *testing.T, commands string) string {
	t.Helper()
	bin, err := harness.Binary()
	require.NoError(t, err)
	script := filepath.Join(harness.TempDir(t), "k3fs")
	text := fmt.Sprintf("#!/bin/sh\nset -e\n%s\nexec '%s' \"$@\"\n", commands, bin)
	require.NoError(t, os.WriteFile(script, []byte(text), 0o755))
	return script
}
