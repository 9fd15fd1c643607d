package daemon

import (
	"context"
	"encoding/json"

	"k3fs/daemon/control"
	"k3fs/namespace"
)

// versionPage is how many versions one answer holds, so that it fits a message.
const versionPage = 200

// objectVersions lists the versions of an object.
func (d *Daemon) objectVersions(ctx context.Context, v *namespace.View, raw json.RawMessage) (any, error) {
	var ask control.Object
	if err := parseArgs(raw, &ask); err != nil {
		return nil, err
	}
	o := namespace.VersionsOptions{Prefix: ask.Key, Max: versionPage}
	if ask.Version != "" {
		o.KeyMarker, o.VersionMarker = ask.Key, ask.Version
	}
	page, err := v.ListVersions(ctx, ask.Bucket, o)
	if err != nil {
		return nil, err
	}
	out := control.ObjectVersions{More: page.Truncated && page.NextKey == ask.Key}
	for _, one := range page.Versions {
		if one.Key != ask.Key {
			break
		}
		out.Versions = append(out.Versions, control.Version{ID: versionOf(one.Version), Time: one.LastModified.UTC(), Size: one.Size, ETag: one.ETag,
			Latest: one.Latest, Marker: one.Marker})
	}
	if len(out.Versions) == 0 && ask.Version == "" {
		return nil, control.Errorf(control.Absent, "%s/%s has never been there", ask.Bucket, ask.Key)
	}
	return out, nil
}

// versionOf is the id of a version, also in a bucket that never had any.
func versionOf(id string) string {
	if id == "" {
		return "null"
	}
	return id
}

// objectRestore makes what an object was in a version its newest. Without one, that is what it was before it was
// deleted. No data is copied.
func (d *Daemon) objectRestore(ctx context.Context, v *namespace.View, raw json.RawMessage) (any, error) {
	var ask control.Object
	if err := parseArgs(raw, &ask); err != nil {
		return nil, err
	}
	if ask.Version == "" {
		page, err := v.ListVersions(ctx, ask.Bucket, namespace.VersionsOptions{Prefix: ask.Key, Max: versionPage})
		if err != nil {
			return nil, err
		}
		if ask.Version, err = lastKept(page.Versions, ask.Key); err != nil {
			return nil, err
		}
	}
	info, err := v.CopyObject(ctx, ask.Bucket, ask.Key, ask.Bucket, ask.Key, namespace.CopyOptions{Version: ask.Version})
	if err != nil {
		return nil, err
	}
	d.log.Info("object restored", "bucket", ask.Bucket, "key", ask.Key, "version", ask.Version)
	return control.Object{Bucket: ask.Bucket, Key: ask.Key, Version: versionOf(info.Version)}, nil
}

// lastKept is the version that a deleted object was last.
func lastKept(versions []namespace.VersionInfo, key string) (id string, err error) {
	for _, one := range versions {
		switch {
		case one.Key != key:
		case one.Latest && !one.Marker:
			return "", control.Errorf(control.Usage, "%s is there: say which older version is to be restored", key)
		case !one.Marker:
			return versionOf(one.Version), nil
		}
	}
	return "", control.Errorf(control.Absent, "no version of %s is kept", key)
}
