package namespace

import (
	"context"

	"k3fs/chunkstore"
)

const (
	pageCrowded   = 512 // slices in a page of a content above which its crowded windows are rewritten
	windowCrowded = 8   // slices in a frame's span of the file that make it crowded
)

// compact rewrites the spans of a fragmented map that hold many small slices, each as one frame, so that
// a content's pages stay small and its reads long. f.mu must be held and nothing on its way; it is
// given up while frames are written.
func (f *file) compact(ctx context.Context) error {
	if len(f.slices) <= pageCrowded {
		return nil
	}
	for _, at := range f.crowded() {
		if err := f.rewrite(ctx, at); err != nil {
			return err
		}
	}
	return nil
}

// crowded returns the starts of the frame-long spans to rewrite.
func (f *file) crowded() (windows []int64) {
	for i := 0; i < len(f.slices); {
		page := f.slices[i].Off / pageSpan
		j := i
		for j < len(f.slices) && f.slices[j].Off/pageSpan == page {
			j++
		}
		if j-i > pageCrowded {
			windows = append(windows, crowdedIn(f.slices[i:j])...)
		}
		i = j
	}
	return windows
}

func crowdedIn(list []slice) (windows []int64) {
	for i := 0; i < len(list); {
		window := list[i].Off / chunkstore.FrameSize
		j := i
		for j < len(list) && list[j].Off/chunkstore.FrameSize == window {
			j++
		}
		if j-i > windowCrowded {
			windows = append(windows, window*chunkstore.FrameSize)
		}
		i = j
	}
	return windows
}

// rewrite puts one new frame in place of the slices between off and the next frame's span. Holes between
// them become zeros; those before the first and after the last stay.
func (f *file) rewrite(ctx context.Context, off int64) error {
	end := min(off+chunkstore.FrameSize, f.size)
	i := findSlice(f.slices, off)
	if i == len(f.slices) || f.slices[i].Off >= end {
		return nil
	}
	from, to := max(off, f.slices[i].Off), off
	for ; i < len(f.slices) && f.slices[i].Off < end; i++ {
		to = min(f.slices[i].end(), end)
	}
	p := make([]byte, to-from)
	for _, r := range f.planMap(nil, p, from) {
		if err := f.fs.chunks.ReadAt(ctx, f.d, r.e, r.p, r.off); err != nil {
			return err
		}
	}
	e, err := f.append(ctx, p)
	if err == nil {
		f.install(from, to, sliceOf(e, from))
	}
	return err
}

// append seals and writes a frame, with f.mu given up meanwhile.
func (f *file) append(ctx context.Context, p []byte) (chunkstore.Extent, error) {
	if f.stream == nil {
		f.stream = f.fs.chunks.NewStream(f.d)
	}
	stream := f.stream
	f.pump.frames++
	f.mu.Unlock()
	e, err := stream.Append(ctx, p)
	f.mu.Lock()
	f.pump.frames--
	f.landed.Broadcast()
	return e, err
}
