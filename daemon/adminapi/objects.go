package adminapi

import (
	"context"
	"errors"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/namespace"
)

// objects implements ObjectService.
type objects struct{ *Server }

// ListObjects implements ObjectService.
func (s objects) ListObjects(ctx context.Context, r *connect.Request[adminv1.ListObjectsRequest]) (*connect.Response[adminv1.ListObjectsResponse], error) {
	ask := r.Msg
	v := s.view(ctx, map[string]string{"s3:prefix": ask.GetPrefix(), "s3:delimiter": ask.GetDelimiter()})
	page, err := v.ListObjects(ctx, ask.GetBucket(), namespace.ListOptions{Prefix: ask.GetPrefix(), Delimiter: ask.GetDelimiter(),
		After: ask.GetPageToken(), Max: pageSize(ask.GetPageSize())})
	if err != nil {
		return nil, err
	}
	answer := &adminv1.ListObjectsResponse{Prefixes: page.Prefixes}
	for _, o := range page.Objects {
		answer.Objects = append(answer.Objects, listedObject(o))
	}
	if page.Truncated {
		answer.NextPageToken = page.Next
	}
	return connect.NewResponse(answer), nil
}

func listedObject(o namespace.ObjectInfo) *adminv1.Object {
	return &adminv1.Object{Key: o.Key, Size: o.Size, Etag: o.ETag, LastModified: timestamppb.New(o.LastModified), Version: o.Version}
}

// GetObject implements ObjectService.
func (s objects) GetObject(ctx context.Context, r *connect.Request[adminv1.GetObjectRequest]) (*connect.Response[adminv1.GetObjectResponse], error) {
	ask := r.Msg
	values := map[string]string{}
	if ask.GetVersion() != "" {
		values["s3:versionid"] = ask.GetVersion()
	}
	v := s.view(ctx, values)
	o, err := v.HeadObject(ctx, ask.GetBucket(), ask.GetKey(), namespace.ReadOptions{Version: ask.GetVersion()})
	if err != nil {
		return nil, err
	}
	shown := shownObject(ask.GetKey(), o)
	if tags, _, err := v.ObjectTags(ctx, ask.GetBucket(), ask.GetKey(), ask.GetVersion()); err == nil {
		for _, t := range tags {
			shown.Tags[t.Key] = t.Value
		}
	}
	if ask.GetVersion() == "" && owned(ctx, v, ask.GetBucket()) {
		if shown.Posix, err = posixOf(ctx, v, o.Ino); err != nil {
			return nil, err
		}
	}
	return connect.NewResponse(&adminv1.GetObjectResponse{Object: shown}), nil
}

func shownObject(key string, o namespace.ObjectInfo) *adminv1.Object {
	shown := listedObject(o)
	shown.Key, shown.Metadata, shown.Tags, shown.Headers = key, o.Meta, map[string]string{}, map[string]string{}
	shown.ContentType = o.DerivedType
	for name, value := range o.Headers {
		if name == "Content-Type" {
			shown.ContentType = value
			continue
		}
		shown.Headers[name] = value
	}
	shown.ChecksumAlgorithm, shown.Checksum, shown.Parts = o.Checksums.Algorithm, o.Checksums.Value, int32(o.Parts)
	if o.Lock != nil {
		shown.Lock = &adminv1.Lock{Mode: shownMode(o.Lock.Mode), RetainUntil: timestamp(o.Lock.Until), LegalHold: o.Lock.LegalHold}
	}
	return shown
}

// owned reports whether the bucket is the caller's tenant's: what it is as a file is nobody else's business.
func owned(ctx context.Context, v *namespace.View, bucket string) bool {
	info, err := v.HeadBucket(ctx, bucket)
	return err == nil && info.Owner == callOf(ctx).who.Tenant
}

var posixTypes = map[namespace.Type]string{namespace.File: "file", namespace.Dir: "directory", namespace.Symlink: "symlink"}

// posixOf is what stat(2) and getxattr(2) say of an inode; nil if it went away.
func posixOf(ctx context.Context, v *namespace.View, ino namespace.Ino) (*adminv1.Posix, error) {
	a, err := v.GetAttr(ctx, ino)
	if err != nil {
		return nil, unlessGone(err)
	}
	p := &adminv1.Posix{Inode: uint64(ino), Type: posixTypes[a.Type], Mode: a.Mode, Uid: a.UID, Gid: a.GID, Links: a.Nlink, Size: a.Size,
		Modified: timestamppb.New(a.Mtime), Changed: timestamppb.New(a.Ctime), Accessed: timestamppb.New(a.Atime),
		Born: timestamppb.New(a.Btime), Xattrs: map[string][]byte{}}
	names, err := v.ListXattr(ctx, ino)
	if err != nil {
		return nil, unlessGone(err)
	}
	for _, name := range names {
		if value, err := v.GetXattr(ctx, ino, name); err == nil {
			p.Xattrs[name] = value
		}
	}
	return p, nil
}

// unlessGone is nil for an inode that was removed meanwhile, or that a policy hides from mounts.
func unlessGone(err error) error {
	var e *namespace.Error
	if errors.As(err, &e) && (e.Kind == namespace.NotFound || e.Kind == namespace.Stale || e.Kind == namespace.Access) {
		return nil
	}
	return err
}

// DeleteObject implements ObjectService.
func (s objects) DeleteObject(ctx context.Context, r *connect.Request[adminv1.DeleteObjectRequest]) (*connect.Response[adminv1.DeleteObjectResponse], error) {
	ask := r.Msg
	values := map[string]string{}
	if ask.GetVersion() != "" {
		values["s3:versionid"] = ask.GetVersion()
	}
	done, err := s.view(ctx, values).DeleteObject(ctx, ask.GetBucket(), ask.GetKey(),
		namespace.DeleteOptions{Version: ask.GetVersion(), Bypass: ask.GetBypassGovernance()})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.DeleteObjectResponse{Found: done.Found, DeleteMarker: done.Marker, Version: done.Version}), nil
}

// ListVersions implements ObjectService.
func (s objects) ListVersions(ctx context.Context, r *connect.Request[adminv1.ListVersionsRequest]) (*connect.Response[adminv1.ListVersionsResponse], error) {
	ask := r.Msg
	o := namespace.VersionsOptions{Prefix: ask.GetKey(), Max: pageSize(ask.GetPageSize())}
	if ask.GetPageToken() != "" {
		o.KeyMarker, o.VersionMarker = ask.GetKey(), ask.GetPageToken()
	}
	page, err := s.view(ctx, map[string]string{"s3:prefix": ask.GetKey()}).ListVersions(ctx, ask.GetBucket(), o)
	if err != nil {
		return nil, err
	}
	answer := &adminv1.ListVersionsResponse{}
	for _, one := range page.Versions {
		if one.Key != ask.GetKey() {
			break
		}
		answer.Versions = append(answer.Versions, &adminv1.Version{Id: versionID(one.Version), LastModified: timestamppb.New(one.LastModified),
			Size: one.Size, Etag: one.ETag, Latest: one.Latest, DeleteMarker: one.Marker})
	}
	if n := len(answer.Versions); n > 0 && page.Truncated && page.NextKey == ask.GetKey() {
		answer.NextPageToken = answer.Versions[n-1].Id
	} else if n == 0 && ask.GetPageToken() == "" {
		return nil, notFound("%s/%s has never been there", ask.GetBucket(), ask.GetKey())
	}
	return connect.NewResponse(answer), nil
}

// versionID is the id of a version, also in a bucket that never had any.
func versionID(id string) string {
	if id == "" {
		return "null"
	}
	return id
}

// RestoreVersion implements ObjectService.
func (s objects) RestoreVersion(ctx context.Context, r *connect.Request[adminv1.RestoreVersionRequest]) (*connect.Response[adminv1.RestoreVersionResponse], error) {
	ask, from := r.Msg, r.Msg.GetVersion()
	if strings.TrimSpace(ask.GetKey()) == "" {
		return nil, invalid("give a key")
	}
	v := s.view(ctx, map[string]string{"s3:prefix": ask.GetKey()})
	if from == "" {
		page, err := v.ListVersions(ctx, ask.GetBucket(), namespace.VersionsOptions{Prefix: ask.GetKey(), Max: maxPage})
		if err != nil {
			return nil, err
		}
		if from, err = lastKept(page.Versions, ask.GetKey()); err != nil {
			return nil, err
		}
	}
	info, err := v.CopyObject(ctx, ask.GetBucket(), ask.GetKey(), ask.GetBucket(), ask.GetKey(), namespace.CopyOptions{Version: from})
	if err != nil {
		return nil, err
	}
	s.o.Logger.Info("object restored", "request", callOf(ctx).ID, "bucket", ask.GetBucket(), "key", ask.GetKey(), "version", from)
	return connect.NewResponse(&adminv1.RestoreVersionResponse{Restored: from, Version: versionID(info.Version)}), nil
}

// lastKept is the version that a deleted object was last.
func lastKept(versions []namespace.VersionInfo, key string) (id string, err error) {
	for _, one := range versions {
		switch {
		case one.Key != key:
		case one.Latest && !one.Marker:
			return "", invalid("%s is there: say which older version is to be restored", key)
		case !one.Marker:
			return versionID(one.Version), nil
		}
	}
	return "", notFound("no version of %s is kept", key)
}
