package fusefs

import (
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/stretchr/testify/require"

	"k3fs/namespace"
)

// What a lookup found after a first ESTALE can be followed and opened though it was removed meanwhile.
func TestLeaseOutlivesRemoval(t *testing.T) {
	fs := newMemFS()
	d := newDoor(Options{FS: fs}.withDefaults())
	defer d.leases.close()
	root := fuse.InHeader{NodeId: uint64(namespace.RootIno)}
	_, err := fs.Symlink(background, namespace.RootIno, "link", "target", namespace.NewNode{Mode: 0o777})
	require.NoError(t, err)
	_, err = fs.Mknod(background, namespace.RootIno, "file", namespace.NewNode{Mode: 0o644, Type: namespace.File})
	require.NoError(t, err)

	require.Equal(t, fuse.Status(syscall.ESTALE), d.GetAttr(nil, &fuse.GetAttrIn{InHeader: fuse.InHeader{NodeId: 999}}, &fuse.AttrOut{}))
	d.leases.until.Store(time.Now().Add(time.Hour).UnixNano()) // however slow this machine is
	var link, file fuse.EntryOut
	require.Equal(t, fuse.OK, d.Lookup(nil, &root, "link", &link))
	require.Equal(t, fuse.OK, d.Lookup(nil, &root, "file", &file))
	for _, l := range d.leases.held {
		l.end.Stop()
	}
	require.Equal(t, fuse.OK, d.Unlink(nil, &root, "link"))
	require.Equal(t, fuse.OK, d.Unlink(nil, &root, "file"))

	target, status := d.Readlink(nil, &fuse.InHeader{NodeId: link.NodeId})
	require.Equal(t, fuse.OK, status)
	require.Equal(t, "target", string(target))
	var attr fuse.AttrOut
	require.Equal(t, fuse.OK, d.GetAttr(nil, &fuse.GetAttrIn{InHeader: fuse.InHeader{NodeId: link.NodeId}}, &attr))
	require.Zero(t, attr.Nlink)
	var out fuse.OpenOut
	require.Equal(t, fuse.OK, d.Open(nil, &fuse.OpenIn{InHeader: fuse.InHeader{NodeId: file.NodeId}}, &out))
	d.Release(nil, &fuse.ReleaseIn{Fh: out.Fh})
}
