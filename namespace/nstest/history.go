package nstest

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"k3fs/namespace"
)

var seed = maphash.MakeSeed()

// tag stands for a content; unpublished is a file that has a name but was never persisted or published: a
// recovery takes it away.
func tag(p []byte) string { return fmt.Sprintf("%d:%x", len(p), maphash.Bytes(seed, p)) }

const unpublished = "-"

// state is what the names hold, as a recovery would show it: tags by path.
type state map[string]string

// String is the state on one line, the same for equal states.
func (s state) String() string {
	var b strings.Builder
	for _, path := range sortedKeys(s) {
		if s[path] != unpublished {
			fmt.Fprintf(&b, "%s=%s ", path, s[path])
		}
	}
	return b.String()
}

func sortedKeys(s state) []string {
	keys := make([]string, 0, len(s))
	for k := range s {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// observe reads what both doors see, and whether they agree.
func (w *World) observe() (state, error) {
	posix := state{}
	if err := w.walk(w.Bucket, "", posix); err != nil {
		return nil, fmt.Errorf("reading through POSIX: %w", err)
	}
	s3, err := w.objects()
	if err != nil {
		return nil, fmt.Errorf("reading through S3: %w", err)
	}
	for path, t := range posix {
		if s3[path] != t {
			return nil, fmt.Errorf("%s: POSIX reads %s, S3 %q", path, t, s3[path])
		}
	}
	for path := range s3 {
		if posix[path] == "" {
			return nil, fmt.Errorf("%s: S3 sees it, POSIX does not", path)
		}
	}
	return posix, nil
}

func (w *World) walk(dir namespace.Ino, path string, into state) error {
	ctx := context.Background()
	entries, err := w.View.ReadDir(ctx, dir, "", 1000, true)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type == namespace.Dir {
			if err := w.walk(e.Ino, path+e.Name+"/", into); err != nil {
				return err
			}
			continue
		}
		p, err := w.readFile(e.Ino, e.Attr.Size)
		if err != nil {
			return fmt.Errorf("%s%s: %w", path, e.Name, err)
		}
		into[path+e.Name] = tag(p)
	}
	return nil
}

func (w *World) readFile(ino namespace.Ino, size int64) ([]byte, error) {
	ctx := context.Background()
	h, err := w.View.Open(ctx, ino, namespace.OpenFlags{Read: true})
	if err != nil {
		return nil, err
	}
	p := make([]byte, size+1)
	n, err := h.ReadAt(ctx, p, 0)
	if err == nil && int64(n) != size {
		err = fmt.Errorf("%d bytes, stat says %d", n, size)
	}
	// Only closed, not flushed: a look must publish nothing.
	return p[:n], err
}

func (w *World) objects() (state, error) {
	ctx := context.Background()
	page, err := w.View.ListObjects(ctx, bucket, namespace.ListOptions{Max: 1000})
	if err != nil {
		return nil, err
	}
	s := state{}
	for _, o := range page.Objects {
		if strings.HasSuffix(o.Key, "/") { // an explicit directory
			continue
		}
		r, err := w.View.GetObject(ctx, bucket, o.Key, namespace.ReadOptions{})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Key, err)
		}
		var b bytes.Buffer
		_, err = r.WriteRange(ctx, &b, 0, o.Size)
		if closeErr := r.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Key, err)
		}
		s[o.Key] = tag(b.Bytes())
	}
	return s, nil
}
