package fusefs

import (
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"k3fs/namespace"
)

// metered is a door whose requests are told to Metrics.
type metered struct {
	fuse.RawFileSystem
	to Metrics
}

func (m *metered) done(op string, in *fuse.InHeader, begun time.Time, s fuse.Status) fuse.Status {
	return m.moved(op, in, 0, begun, s)
}

// moved is done for a request that moved n bytes of a file.
func (m *metered) moved(op string, in *fuse.InHeader, n int, begun time.Time, s fuse.Status) fuse.Status {
	m.to.Request(Request{Op: op, ID: in.Unique, Inode: namespace.Ino(in.NodeId), Bytes: n, Took: time.Since(begun),
		Broken: s == fuse.EIO, Failed: s != fuse.OK && !(op == "lookup" && s == fuse.ENOENT)})
	return s
}

func (m *metered) Lookup(c <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return m.done("lookup", in, time.Now(), m.RawFileSystem.Lookup(c, in, name, out))
}

func (m *metered) GetAttr(c <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return m.done("getattr", &in.InHeader, time.Now(), m.RawFileSystem.GetAttr(c, in, out))
}

func (m *metered) Statx(c <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	return m.done("statx", &in.InHeader, time.Now(), m.RawFileSystem.Statx(c, in, out))
}

func (m *metered) SetAttr(c <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	return m.done("setattr", &in.InHeader, time.Now(), m.RawFileSystem.SetAttr(c, in, out))
}

func (m *metered) Mknod(c <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	return m.done("mknod", &in.InHeader, time.Now(), m.RawFileSystem.Mknod(c, in, name, out))
}

func (m *metered) Mkdir(c <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return m.done("mkdir", &in.InHeader, time.Now(), m.RawFileSystem.Mkdir(c, in, name, out))
}

func (m *metered) Unlink(c <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return m.done("unlink", in, time.Now(), m.RawFileSystem.Unlink(c, in, name))
}

func (m *metered) Rmdir(c <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return m.done("rmdir", in, time.Now(), m.RawFileSystem.Rmdir(c, in, name))
}

func (m *metered) Rename(c <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	return m.done("rename", &in.InHeader, time.Now(), m.RawFileSystem.Rename(c, in, name, newName))
}

func (m *metered) Link(c <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	return m.done("link", &in.InHeader, time.Now(), m.RawFileSystem.Link(c, in, name, out))
}

func (m *metered) Symlink(c <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	return m.done("symlink", in, time.Now(), m.RawFileSystem.Symlink(c, in, target, name, out))
}

func (m *metered) SetXAttr(c <-chan struct{}, in *fuse.SetXAttrIn, attr string, value []byte) fuse.Status {
	return m.done("setxattr", &in.InHeader, time.Now(), m.RawFileSystem.SetXAttr(c, in, attr, value))
}

func (m *metered) RemoveXAttr(c <-chan struct{}, in *fuse.InHeader, attr string) fuse.Status {
	return m.done("removexattr", in, time.Now(), m.RawFileSystem.RemoveXAttr(c, in, attr))
}

func (m *metered) Ioctl(c <-chan struct{}, in *fuse.IoctlIn, inbuf []byte, out *fuse.IoctlOut, outbuf []byte) fuse.Status {
	return m.done("ioctl", &in.InHeader, time.Now(), m.RawFileSystem.Ioctl(c, in, inbuf, out, outbuf))
}

func (m *metered) Create(c <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return m.done("create", &in.InHeader, time.Now(), m.RawFileSystem.Create(c, in, name, out))
}

func (m *metered) Tmpfile(c <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	return m.done("tmpfile", &in.InHeader, time.Now(), m.RawFileSystem.Tmpfile(c, in, out))
}

func (m *metered) CopyFileRange(c <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	begun := time.Now()
	n, s := m.RawFileSystem.CopyFileRange(c, in)
	return n, m.moved("copy_file_range", &in.InHeader, int(n), begun, s)
}

func (m *metered) Open(c <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return m.done("open", &in.InHeader, time.Now(), m.RawFileSystem.Open(c, in, out))
}

func (m *metered) Lseek(c <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	return m.done("lseek", &in.InHeader, time.Now(), m.RawFileSystem.Lseek(c, in, out))
}

func (m *metered) Flush(c <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	return m.done("flush", &in.InHeader, time.Now(), m.RawFileSystem.Flush(c, in))
}

func (m *metered) Fsync(c <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return m.done("fsync", &in.InHeader, time.Now(), m.RawFileSystem.Fsync(c, in))
}

func (m *metered) GetLk(c <-chan struct{}, in *fuse.LkIn, out *fuse.LkOut) fuse.Status {
	return m.done("getlk", &in.InHeader, time.Now(), m.RawFileSystem.GetLk(c, in, out))
}

func (m *metered) SetLk(c <-chan struct{}, in *fuse.LkIn) fuse.Status {
	return m.done("setlk", &in.InHeader, time.Now(), m.RawFileSystem.SetLk(c, in))
}

func (m *metered) SetLkw(c <-chan struct{}, in *fuse.LkIn) fuse.Status {
	return m.done("setlkw", &in.InHeader, time.Now(), m.RawFileSystem.SetLkw(c, in))
}

func (m *metered) Fallocate(c <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	return m.done("fallocate", &in.InHeader, time.Now(), m.RawFileSystem.Fallocate(c, in))
}

func (m *metered) ReadDir(c <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return m.done("readdir", &in.InHeader, time.Now(), m.RawFileSystem.ReadDir(c, in, out))
}

func (m *metered) ReadDirPlus(c <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return m.done("readdirplus", &in.InHeader, time.Now(), m.RawFileSystem.ReadDirPlus(c, in, out))
}

func (m *metered) FsyncDir(c <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return m.done("fsyncdir", &in.InHeader, time.Now(), m.RawFileSystem.FsyncDir(c, in))
}

func (m *metered) StatFs(c <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	return m.done("statfs", in, time.Now(), m.RawFileSystem.StatFs(c, in, out))
}

func (m *metered) Readlink(c <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	begun := time.Now()
	r, s := m.RawFileSystem.Readlink(c, in)
	return r, m.done("readlink", in, begun, s)
}

func (m *metered) GetXAttr(c <-chan struct{}, in *fuse.InHeader, attr string, dest []byte) (uint32, fuse.Status) {
	begun := time.Now()
	r, s := m.RawFileSystem.GetXAttr(c, in, attr, dest)
	return r, m.done("getxattr", in, begun, s)
}

func (m *metered) ListXAttr(c <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	begun := time.Now()
	r, s := m.RawFileSystem.ListXAttr(c, in, dest)
	return r, m.done("listxattr", in, begun, s)
}

func (m *metered) Read(c <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	begun := time.Now()
	r, s := m.RawFileSystem.Read(c, in, buf)
	n := 0
	if s == fuse.OK {
		n = r.Size()
		m.to.Moved(0, n)
	}
	return r, m.moved("read", &in.InHeader, n, begun, s)
}

func (m *metered) Write(c <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	begun := time.Now()
	n, s := m.RawFileSystem.Write(c, in, data)
	m.to.Moved(int(n), 0)
	return n, m.moved("write", &in.InHeader, int(n), begun, s)
}
