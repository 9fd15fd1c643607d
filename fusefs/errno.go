package fusefs

import (
	"context"
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"k3fs/namespace"
)

// errnos translates every Kind. A Kind that only S3 can cause means EIO: seeing it here is a bug.
var errnos = map[namespace.Kind]syscall.Errno{
	namespace.Internal:           syscall.EIO,
	namespace.NotFound:           syscall.ENOENT,
	namespace.NoBucket:           syscall.ENOENT,
	namespace.NoUpload:           syscall.ENOENT,
	namespace.NoAttr:             syscall.ENODATA,
	namespace.Exists:             syscall.EEXIST,
	namespace.BucketOwned:        syscall.EEXIST,
	namespace.BucketTaken:        syscall.EEXIST,
	namespace.NotDir:             syscall.ENOTDIR,
	namespace.IsDir:              syscall.EISDIR,
	namespace.NotEmpty:           syscall.ENOTEMPTY,
	namespace.Invalid:            syscall.EINVAL,
	namespace.InvalidName:        syscall.EINVAL,
	namespace.InvalidBucketName:  syscall.EINVAL,
	namespace.NameTooLong:        syscall.ENAMETOOLONG,
	namespace.CrossBucket:        syscall.EXDEV,
	namespace.Loop:               syscall.EINVAL,
	namespace.TooManyLinks:       syscall.EMLINK,
	namespace.Access:             syscall.EACCES,
	namespace.NotPermitted:       syscall.EPERM,
	namespace.ReadOnly:           syscall.EROFS,
	namespace.NoSpace:            syscall.ENOSPC,
	namespace.QuotaExceeded:      syscall.EDQUOT,
	namespace.TooBig:             syscall.EFBIG,
	namespace.Range:              syscall.ERANGE,
	namespace.PreconditionFailed: syscall.EIO,
	namespace.NotModified:        syscall.EIO,
	namespace.InvalidPart:        syscall.EIO,
	namespace.InvalidPartOrder:   syscall.EIO,
	namespace.PartTooSmall:       syscall.EIO,
	namespace.WrongOffset:        syscall.EINVAL,
	namespace.Busy:               syscall.EBUSY,
	namespace.Stale:              syscall.ESTALE,
	namespace.BadHandle:          syscall.EBADF,
	namespace.Unsupported:        syscall.EOPNOTSUPP,
	namespace.Corrupt:            syscall.EIO,
	namespace.Unavailable:        syscall.EIO,
	namespace.Interrupted:        syscall.EINTR,
	namespace.BadBody:            syscall.EIO,
	namespace.NoVersion:          syscall.ENOENT,
	namespace.BadVersion:         syscall.EINVAL,
	namespace.IsMarker:           syscall.EIO,
	namespace.NoLock:             syscall.EOPNOTSUPP,
	namespace.NoVersioning:       syscall.EOPNOTSUPP,
}

// kindOf returns err's kind. What is no *namespace.Error is Internal, but for an ended context.
func kindOf(err error) namespace.Kind {
	var e *namespace.Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return namespace.Interrupted
	}
	return namespace.Internal
}

// gone reports whether err says that an inode is not there any more.
func gone(err error) bool {
	k := kindOf(err)
	return k == namespace.Stale || k == namespace.NotFound
}

// stale is status for requests that name an inode and no entry. An inode that is gone is stale: the kernel
// then looks its path up again instead of telling the application that a name which always existed is
// absent. Lookups take leases from then on, so that this succeeds.
func (d *door) stale(err error) fuse.Status {
	if gone(err) {
		d.leases.want()
		return fuse.Status(syscall.ESTALE)
	}
	return d.status(err)
}

// status translates err, and logs what an operator must know of.
func (d *door) status(err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	if errors.Is(err, errUnmapped) {
		return fuse.Status(syscall.EOVERFLOW)
	}
	kind := kindOf(err)
	switch kind {
	case namespace.Internal, namespace.Corrupt, namespace.Unavailable:
		d.log.Error("a file operation failed", "err", err)
	}
	errno, ok := errnos[kind]
	if !ok {
		errno = syscall.EIO
	}
	return fuse.Status(errno)
}
