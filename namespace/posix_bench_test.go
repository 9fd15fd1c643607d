package namespace

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
)

func benchWorld(b *testing.B) (*world, context.Context) {
	w := newWorld(b)
	b.ReportAllocs()
	return w, context.Background()
}

// BenchmarkSmallFile is create, a write of 4 KiB, flush and close.
func BenchmarkSmallFile(b *testing.B) {
	w, ctx := benchWorld(b)
	data := storetest.Bytes(4096, 1)
	names := make([]string, b.N)
	for i := range names {
		names[i] = fmt.Sprintf("file-%08d", i)
	}
	b.ResetTimer()
	for i := range b.N {
		_, h, err := w.Create(ctx, w.bucket, names[i], NewNode{Mode: 0o644}, OpenFlags{Write: true})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := h.WriteAt(ctx, data, 0); err != nil {
			b.Fatal(err)
		}
		if err := h.Flush(ctx); err != nil {
			b.Fatal(err)
		}
		if err := h.Close(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	w, ctx := benchWorld(b)
	for i := range 1000 {
		w.file(b, w.bucket, fmt.Sprintf("file-%08d", i), "hello")
	}
	b.ResetTimer()
	for range b.N {
		if _, err := w.Lookup(ctx, w.bucket, "file-00000500"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetAttr(b *testing.B) {
	w, ctx := benchWorld(b)
	f := w.file(b, w.bucket, "f", "hello")
	b.ResetTimer()
	for range b.N {
		if _, err := w.GetAttr(ctx, f); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadDirPlus reads a directory of 1,000 files with their attributes, per entry.
func BenchmarkReadDirPlus(b *testing.B) {
	w, ctx := benchWorld(b)
	for i := range 1000 {
		w.file(b, w.bucket, fmt.Sprintf("file-%08d", i), "hello")
	}
	b.ResetTimer()
	for i := 0; i < b.N; {
		page, err := w.ReadDir(ctx, w.bucket, "", 1000, true)
		require.NoError(b, err)
		i += len(page)
	}
}

func BenchmarkOpenReadClose(b *testing.B) {
	w, ctx := benchWorld(b)
	f := w.file(b, w.bucket, "f", string(storetest.Bytes(4096, 1)))
	p := make([]byte, 4096)
	b.ResetTimer()
	for range b.N {
		h, err := w.Open(ctx, f, OpenFlags{Read: true})
		if err != nil {
			b.Fatal(err)
		}
		if n, err := h.ReadAt(ctx, p, 0); n != len(p) || err != nil {
			b.Fatal(n, err)
		}
		if err := h.Flush(ctx); err != nil {
			b.Fatal(err)
		}
		if err := h.Close(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWrite writes a file front to back in pieces, over a disk in memory.
func BenchmarkWrite(b *testing.B) {
	for _, step := range []int{4 << 10, 128 << 10, 1 << 20} {
		b.Run(fmt.Sprint(step), func(b *testing.B) {
			w, ctx := benchWorld(b)
			data := storetest.Bytes(step, 1)
			b.SetBytes(int64(step))
			b.ResetTimer()
			h := create(b, w.View, w.bucket, "f")
			for i := range b.N {
				// A file of 64 MiB over and over: what is replaced is freed.
				if _, err := h.WriteAt(ctx, data, int64(i*step%(64<<20))); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, h.Close(ctx))
		})
	}
}

// BenchmarkFsyncAppend appends 4 KiB and syncs, over and over.
func BenchmarkFsyncAppend(b *testing.B) {
	w, ctx := benchWorld(b)
	data := storetest.Bytes(4<<10, 1)
	h := create(b, w.View, w.bucket, "f")
	b.ResetTimer()
	for range b.N {
		if _, err := h.Append(ctx, data); err != nil {
			b.Fatal(err)
		}
		if err := h.Fsync(ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	require.NoError(b, h.Close(ctx))
}

// BenchmarkNames creates, renames and unlinks files over the engines of a node, as the mount does, in a bucket
// without versions and in one with. For a fixed number of times only (-benchtime 20000x).
func BenchmarkNames(b *testing.B) {
	w := newDisk(b)
	for _, kind := range []string{"plain", "versioned"} {
		dir := w.makeBucket(b, kind, alice)
		if kind == "versioned" {
			w.versioning(b, kind, VersioningEnabled)
		}
		b.Run(kind, func(b *testing.B) { benchNames(b, w, dir) })
	}
}

func benchNames(b *testing.B, w *world, dir Ino) {
	data := storetest.Bytes(4096, 1)
	name := func(i int) string { return fmt.Sprintf("file-%08d", i) }
	for _, step := range []struct {
		what string
		do   func(i int) error
	}{
		{"create", func(i int) error {
			_, h, err := w.Create(bg, dir, name(i), NewNode{Mode: 0o644}, OpenFlags{Write: true})
			if err != nil {
				return err
			}
			_, err = h.WriteAt(bg, data, 0)
			return errors.Join(err, h.Flush(bg), h.Close(bg))
		}},
		{"rename", func(i int) error { return w.Rename(bg, dir, name(i), dir, name(i)+".new", 0) }},
		{"unlink", func(i int) error { return w.Unlink(bg, dir, name(i)+".new") }},
	} {
		done := 0 // in the calls before: each step goes through the files once
		b.Run(step.what, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if err := step.do(done); err != nil {
					b.Fatal(err)
				}
				done++
			}
		})
	}
}
