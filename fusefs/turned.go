package fusefs

import "github.com/hanwen/go-fuse/v2/fuse"

func (t *turns) Lookup(c <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	defer t.glance(c)()
	return t.door.Lookup(c, in, name, out)
}

func (t *turns) GetAttr(c <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	defer t.glance(c)()
	return t.door.GetAttr(c, in, out)
}

func (t *turns) Statx(c <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	defer t.glance(c)()
	return t.door.Statx(c, in, out)
}

func (t *turns) Readlink(c <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	defer t.glance(c)()
	return t.door.Readlink(c, in)
}

func (t *turns) GetXAttr(c <-chan struct{}, in *fuse.InHeader, attr string, dest []byte) (uint32, fuse.Status) {
	defer t.glance(c)()
	return t.door.GetXAttr(c, in, attr, dest)
}

func (t *turns) ListXAttr(c <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	defer t.glance(c)()
	return t.door.ListXAttr(c, in, dest)
}

func (t *turns) SetAttr(c <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return s
	}
	defer leave()
	return t.door.SetAttr(c, in, out)
}

func (t *turns) Mknod(c <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return s
	}
	defer leave()
	return t.door.Mknod(c, in, name, out)
}

func (t *turns) Mkdir(c <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return s
	}
	defer leave()
	return t.door.Mkdir(c, in, name, out)
}

func (t *turns) Unlink(c <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return s
	}
	defer leave()
	return t.door.Unlink(c, in, name)
}

func (t *turns) Rmdir(c <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return s
	}
	defer leave()
	return t.door.Rmdir(c, in, name)
}

func (t *turns) Rename(c <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return s
	}
	defer leave()
	return t.door.Rename(c, in, name, newName)
}

func (t *turns) Link(c <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return s
	}
	defer leave()
	return t.door.Link(c, in, name, out)
}

func (t *turns) Symlink(c <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return s
	}
	defer leave()
	return t.door.Symlink(c, in, target, name, out)
}

func (t *turns) SetXAttr(c <-chan struct{}, in *fuse.SetXAttrIn, attr string, value []byte) fuse.Status {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return s
	}
	defer leave()
	return t.door.SetXAttr(c, in, attr, value)
}

func (t *turns) RemoveXAttr(c <-chan struct{}, in *fuse.InHeader, attr string) fuse.Status {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return s
	}
	defer leave()
	return t.door.RemoveXAttr(c, in, attr)
}

func (t *turns) Create(c <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return s
	}
	defer leave()
	return t.door.Create(c, in, name, out)
}

func (t *turns) Tmpfile(c <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return s
	}
	defer leave()
	return t.door.Tmpfile(c, in, out)
}

func (t *turns) Open(c <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return s
	}
	defer leave()
	return t.door.Open(c, in, out)
}

func (t *turns) CopyFileRange(c <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return 0, s
	}
	defer leave()
	return t.door.CopyFileRange(c, in)
}

func (t *turns) Fallocate(c <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return s
	}
	defer leave()
	return t.door.Fallocate(c, in)
}

func (t *turns) ReadDir(c <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return s
	}
	defer leave()
	return t.door.ReadDir(c, in, out)
}

func (t *turns) ReadDirPlus(c <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return s
	}
	defer leave()
	return t.door.ReadDirPlus(c, in, out)
}

func (t *turns) Write(c <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	leave, s := t.turn(c, len(data))
	if s != fuse.OK {
		return 0, s
	}
	defer leave()
	return t.door.Write(c, in, data)
}

// Read waits, behind its turn, until as many bytes as it found may go out.
func (t *turns) Read(c <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	leave, s := t.turn(c, 0)
	if s != fuse.OK {
		return nil, s
	}
	r, s := t.door.Read(c, in, buf)
	leave()
	if s != fuse.OK || !t.pace.Limited() || t.hurried() {
		return r, s
	}
	slow, stop := t.unlessHurried(interruptible{c})
	defer stop()
	if err := t.pace.Read(slow, r.Size()); err != nil && !t.hurried() {
		r.Done()
		return nil, fuse.EINTR
	}
	return r, s
}

// Fsync and Flush only take their turn: what was written was waited for.
func (t *turns) Fsync(c <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	defer t.pace.Enter(interruptible{c})()
	return t.door.Fsync(c, in)
}

func (t *turns) Flush(c <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	defer t.pace.Enter(interruptible{c})()
	return t.door.Flush(c, in)
}
