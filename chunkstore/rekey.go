package chunkstore

import (
	"context"
	"errors"
	"fmt"
)

// rekeyBatch is about how many bytes Rekey writes into its journal at a time.
const rekeyBatch = 8 << 20

// Rekeyed is what a Rekey did, or has done so far.
type Rekeyed struct {
	Frames  int64 // sealed anew
	Bytes   int64 // of plaintext in them
	Damaged int64 // packages that failed their authentication before, and do so still
	// Segments of those there were at the start are done with.
	Segments, Of int
}

// RekeyOptions say how to go about it.
type RekeyOptions struct {
	// Pace is called before each batch with the bytes that it will write, and may wait; nil never waits. Its
	// error ends the Rekey.
	Pace func(ctx context.Context, bytes int64) error
	// Progress is called after each batch; nil for nobody.
	Progress func(Rekeyed)
}

// Rekey seals every frame of the domain that is sealed under another epoch than the current one anew, in its place:
// extents stay what they are, and are read and freed meanwhile. When it returns without an error there is no frame
// of an earlier epoch, and none will be written: what was being appended has ended. Each batch goes through a
// journal, so that a crash at any moment leaves the old frame or the new one, and Open finishes the batch. Begun
// again after an error or a crash, it goes on with what is left. What is damaged stays damaged.
func (s *Store) Rekey(ctx context.Context, d Domain, o RekeyOptions) (Rekeyed, error) {
	s.rekeying.Lock()
	defer s.rekeying.Unlock()
	s.rekeyed.Store(true)
	r := &rekey{s: s, d: d, o: o}
	var err error
	if r.epoch, err = s.keys.Current(d); err != nil {
		return r.done, fmt.Errorf("chunkstore: key of domain %d: %w", d, err)
	}
	s.sealing.Lock() // what has chosen an earlier epoch is written after this
	//lint:ignore SA2001 to wait is all
	s.sealing.Unlock()
	for pass := 0; ; pass++ {
		before := r.done.Frames
		if err := r.pass(ctx); err != nil {
			return r.done, errors.Join(err, r.end(false))
		}
		if r.done.Frames == before { // looked at everything, and found nothing
			return r.done, r.end(true)
		}
	}
}

// rekey is one run of Rekey.
type rekey struct {
	s     *Store
	d     Domain
	o     RekeyOptions
	epoch uint32 // to seal under
	done  Rekeyed

	journal *journal // nil until needed
	plain   []byte   // of one frame
	sealed  []byte   // of one frame, as it is on the disk
}

func (r *rekey) pass(ctx context.Context) error {
	segments, err := r.s.Segments(ctx)
	if err != nil {
		return err
	}
	r.done.Segments, r.done.Of = 0, len(segments)
	for _, info := range segments {
		if info.Err == nil { // else nothing in it can be read, under whatever key
			if err := r.segment(ctx, info.Number); err != nil {
				return err
			}
		}
		r.done.Segments++
		r.progress()
	}
	return nil
}

func (r *rekey) progress() {
	if r.o.Progress != nil {
		r.o.Progress(r.done)
	}
}

// segment seals the frames of one segment anew.
func (r *rekey) segment(ctx context.Context, number uint64) error {
	seg, err := r.s.acquire(number)
	if errors.Is(err, errNoSegment) {
		return nil
	}
	if err != nil {
		return err
	}
	defer seg.release()
	stale, err := r.stale(ctx, number)
	for err == nil && len(stale) > 0 {
		n, size := 0, int64(0)
		for n < len(stale) && n < journalEntries && (n == 0 || size+stale[n].disk <= rekeyBatch) {
			size += stale[n].disk
			n++
		}
		err = r.batch(ctx, seg, stale[:n], size)
		stale = stale[n:]
		r.progress()
	}
	return err
}

// staleFrame is a frame of an earlier epoch.
type staleFrame struct{ off, disk int64 }

func (r *rekey) stale(ctx context.Context, number uint64) (all []staleFrame, err error) {
	var failed error
	err = r.s.Frames(ctx, number, func(f Frame) bool {
		if f.Domain != r.d || f.Epoch == r.epoch || errors.Is(f.Err, ErrCorrupt) {
			return true
		}
		failed = f.Err
		all = append(all, staleFrame{int64(f.Offset), f.Size})
		return failed == nil
	})
	if errors.Is(err, errNoSegment) { // removed meanwhile, being empty
		return nil, nil
	}
	return all, errors.Join(err, failed)
}

// batch seals frames anew: into the journal, and from there into their places.
func (r *rekey) batch(ctx context.Context, seg *segment, stale []staleFrame, size int64) error {
	if err := r.s.usable(); err != nil {
		return err
	}
	if r.o.Pace != nil {
		if err := r.o.Pace(ctx, size); err != nil {
			return err
		}
	}
	if r.journal == nil {
		j, err := r.s.openJournal()
		if err != nil {
			return err
		}
		r.journal = j
		r.plain, r.sealed = make([]byte, FrameSize), alignedBytes(maxFrameDisk+BlockSize)
	}
	r.journal.begin()
	defer clear(r.plain)
	var done Rekeyed
	for _, f := range stale {
		if err := ctx.Err(); err != nil {
			return err
		}
		id, bad, err := r.reseal(seg, f)
		if err != nil {
			return err
		}
		if id.length > 0 {
			done.Frames, done.Bytes, done.Damaged = done.Frames+1, done.Bytes+int64(id.length), done.Damaged+int64(bad)
		}
	}
	if err := r.journal.commit(); err != nil {
		return r.s.journalFailed(err)
	}
	if err := r.s.install(seg, r.journal); err != nil {
		return r.s.stop(err)
	}
	r.done.Frames, r.done.Bytes, r.done.Damaged = r.done.Frames+done.Frames, r.done.Bytes+done.Bytes, r.done.Damaged+done.Damaged
	return nil
}

// reseal adds a frame, sealed under the current epoch, to the journal. A length of 0 says that it is gone.
func (r *rekey) reseal(seg *segment, f staleFrame) (id frameID, damaged int, err error) {
	if _, err := seg.file.ReadAt(r.sealed[:f.disk], f.off); err != nil {
		return id, 0, fmt.Errorf("chunkstore: read segment %d: %w", seg.number, err)
	}
	h, err := parseHeader(r.sealed)
	if err != nil || h.domain != r.d || int64(layoutOf(h.length).disk) != f.disk {
		return id, 0, nil // freed meanwhile
	}
	id = frameID{domain: h.domain, epoch: h.epoch, segment: seg.number, offset: f.off, length: h.length}
	t, err := r.s.authenticate(r.sealed, seg, id)
	if errors.Is(err, ErrCorrupt) {
		return frameID{}, 0, nil // freed half-way
	}
	if err != nil {
		return id, 0, err
	}
	plain := r.plain[:id.length]
	bad := t.openEach(r.sealed[layoutOf(id.length).data:], plain)
	id.epoch = r.epoch
	key, err := r.s.keys.DataKey(id.domain, id.epoch)
	if err != nil {
		return id, 0, fmt.Errorf("chunkstore: key of domain %d, epoch %d: %w", id.domain, id.epoch, err)
	}
	defer clear(key[:])
	aead, err := id.aead(&key, seg.salt)
	if err != nil {
		return id, 0, err
	}
	buf := r.journal.add(seg.number, f.off, f.disk)
	sealFrame(buf, aead, id, plain)
	if len(bad) > 0 {
		tags := buf[fixedHeader+tagSize : layoutOf(id.length).header]
		for _, i := range bad {
			tags[i*tagSize] ^= 0xff
		}
		aead.Seal(buf[fixedHeader:fixedHeader], newNonce().header(), nil, headerData(buf, tags))
	}
	return id, len(bad), nil
}

// openEach opens every package that authenticates, and returns the numbers of the others, in whose place p gets
// what is stored.
func (t *toc) openEach(sealed, p []byte) (bad []int) {
	l, n := layoutOf(t.id.length), newNonce()
	buf := make([]byte, 0, PackageSize+tagSize)
	for i := range l.packages {
		from, to := l.span(i)
		buf = append(append(buf[:0], sealed[from:to]...), t.tags[i*tagSize:(i+1)*tagSize]...)
		plain, err := t.aead.Open(buf[:0], n.pack(i), buf, nil)
		if err != nil {
			bad, plain = append(bad, i), sealed[from:to]
		}
		copy(p[from:to], plain)
	}
	clear(buf[:cap(buf)])
	return bad
}

// install writes what the journal holds into its places, durably. A frame that was freed stays so.
func (s *Store) install(seg *segment, j *journal) error {
	err := j.each(func(_ uint64, off int64, frame []byte) error {
		s.tocs.drop(frameKey{seg.number, off})
		return seg.install(off, frame, j.block)
	})
	if err != nil {
		return fmt.Errorf("write to segment %d in place: %w", seg.number, err)
	}
	if err := seg.file.Sync(); err != nil {
		return fmt.Errorf("sync segment %d: %w", seg.number, err)
	}
	return nil
}

// install writes a frame over the one in its place, unless that is gone. block is room to read one.
func (seg *segment) install(off int64, frame, block []byte) error {
	seg.place.Lock()
	defer seg.place.Unlock()
	if _, err := seg.file.ReadAt(block, off); err != nil {
		return err
	}
	if allZero(block) {
		return nil
	}
	_, err := seg.file.WriteAt(frame, off)
	return err
}

func (r *rekey) end(done bool) error {
	if r.journal == nil {
		return nil
	}
	return r.journal.close(done)
}
