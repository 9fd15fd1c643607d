package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"k3fs/daemon/adminapi/adminv1"
)

func newObject() *cobra.Command {
	a := &api{}
	cmd := group("object", "read and write objects, show what both doors know of them, and restore older versions",
		`A bucket for which versioning is enabled keeps what its objects and files were. Older versions can be read
through a mount, too: in .k3fs/versions/, which every directory has, though no listing shows it.`,
		newObjectPut(a), newObjectGet(a), newObjectCopy(a), newObjectURL(a), newObjectShares(a), newObjectUnshare(a),
		newObjectList(a), newObjectShow(a), newObjectRemove(a), newObjectVersions(a), newObjectRestore(a))
	a.flags(cmd)
	return cmd
}

// object names an object: BUCKET/KEY.
type object struct{ bucket, key string }

// parseObject splits BUCKET/KEY.
func parseObject(s string) (object, error) {
	bucket, key, ok := strings.Cut(strings.TrimPrefix(s, "s3://"), "/")
	if !ok || bucket == "" || key == "" {
		return object{}, usageError{fmt.Errorf("%q names no object: write BUCKET/KEY", s)}
	}
	return object{bucket, key}, nil
}

func newObjectList(a *api) *cobra.Command {
	recursive := false
	cmd := &cobra.Command{Use: "ls BUCKET[/PREFIX]", Aliases: []string{"list"}, Short: "list objects", Args: exactly(1, "BUCKET or BUCKET/PREFIX"),
		ValidArgsFunction: a.bucketArgs("/")}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "those below directories, too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		bucket, prefix, _ := strings.Cut(strings.TrimPrefix(args[0], "s3://"), "/")
		s, err := a.connect()
		if err != nil {
			return err
		}
		delimiter := "/"
		if recursive {
			delimiter = ""
		}
		all, err := pages(func(token string) ([]*adminv1.Object, string, error) {
			page, err := call(cmd.Context(), s.objects.ListObjects, &adminv1.ListObjectsRequest{Bucket: bucket, Prefix: prefix, Delimiter: delimiter, PageToken: token})
			if err != nil {
				return nil, "", err
			}
			for _, p := range page.Prefixes {
				page.Objects = append(page.Objects, &adminv1.Object{Key: p})
			}
			return page.Objects, page.NextPageToken, nil
		})
		if err != nil {
			return err
		}
		slices.SortFunc(all, func(a, b *adminv1.Object) int { return strings.Compare(a.Key, b.Key) })
		return showAll(a, cmd, all, func(w io.Writer) {
			for _, o := range all {
				size := "-"
				if o.LastModified != nil {
					size = humanize.IBytes(uint64(o.Size))
				}
				row(w, when(o.LastModified), size, o.Key)
			}
		})
	}
	return cmd
}

func newObjectShow(a *api) *cobra.Command {
	version := ""
	cmd := &cobra.Command{Use: "show BUCKET/KEY", Aliases: []string{"stat"}, Short: "show all that both doors know of an object",
		Args: exactly(1, "BUCKET/KEY"), ValidArgsFunction: a.bucketArgs("/")}
	cmd.Flags().StringVar(&version, "version", "", "of this version (default: the current one)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at, err := parseObject(args[0])
		if err != nil {
			return err
		}
		s, err := a.connect()
		if err != nil {
			return err
		}
		answer, err := call(cmd.Context(), s.objects.GetObject, &adminv1.GetObjectRequest{Bucket: at.bucket, Key: at.key, Version: version})
		if err != nil {
			return err
		}
		return show(a, cmd, answer.Object, func(w io.Writer) { describeObject(w, answer.Object) })
	}
	return cmd
}

func describeObject(w io.Writer, o *adminv1.Object) {
	row(w, "key", o.Key)
	row(w, "size", fmt.Sprintf("%d (%s)", o.Size, humanize.IBytes(uint64(o.Size))))
	row(w, "modified", when(o.LastModified))
	for _, field := range [][2]string{{"etag", o.Etag}, {"version", o.Version}, {"type", o.ContentType}, {"checksum", strings.TrimSpace(o.ChecksumAlgorithm + " " + o.Checksum)}} {
		if field[1] != "" {
			row(w, field[0], field[1])
		}
	}
	for name, values := range map[string]map[string]string{"header": o.Headers, "metadata": o.Metadata, "tag": o.Tags} {
		for key, value := range values {
			row(w, name, key+"="+value)
		}
	}
	if l := o.Lock; l != nil {
		if l.Mode != "" {
			row(w, "lock", l.Mode+" until "+when(l.RetainUntil))
		}
		if l.LegalHold {
			row(w, "legal hold", "on")
		}
	}
	if p := o.Posix; p != nil {
		row(w, "file", fmt.Sprintf("%s, inode %d, mode %04o, owner %d:%d, %d links", p.Type, p.Inode, p.Mode, p.Uid, p.Gid, p.Links))
		for name, value := range p.Xattrs {
			row(w, "xattr", name+"="+string(value))
		}
	}
}

func newObjectRemove(a *api) *cobra.Command {
	var r adminv1.DeleteObjectRequest
	cmd := &cobra.Command{Use: "rm BUCKET/KEY", Short: "remove an object; where versions are kept, by a delete marker", Args: exactly(1, "BUCKET/KEY"),
		ValidArgsFunction: a.bucketArgs("/")}
	cmd.Flags().StringVar(&r.Version, "version", "", "remove this version, for good")
	cmd.Flags().BoolVar(&r.BypassGovernance, "bypass-governance", false, "although it is under governance retention, for who may")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at, err := parseObject(args[0])
		if err != nil {
			return err
		}
		r.Bucket, r.Key = at.bucket, at.key
		s, err := a.connect()
		if err != nil {
			return err
		}
		done, err := call(cmd.Context(), s.objects.DeleteObject, &r)
		if err == nil && !done.Found {
			err = fmt.Errorf("there is no object %s", args[0])
		}
		return err
	}
	return cmd
}

func newObjectVersions(a *api) *cobra.Command {
	return &cobra.Command{
		Use: "versions BUCKET/KEY", Short: "list the versions of an object, newest first",
		Args: exactly(1, "BUCKET/KEY"), ValidArgsFunction: a.bucketArgs("/"),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := parseObject(args[0])
			if err != nil {
				return err
			}
			s, err := a.connect()
			if err != nil {
				return err
			}
			all, err := pages(func(token string) ([]*adminv1.Version, string, error) {
				page, err := call(cmd.Context(), s.objects.ListVersions, &adminv1.ListVersionsRequest{Bucket: at.bucket, Key: at.key, PageToken: token})
				if err != nil {
					return nil, "", err
				}
				return page.Versions, page.NextPageToken, nil
			})
			if err != nil {
				return err
			}
			return showAll(a, cmd, all, func(w io.Writer) {
				for _, v := range all {
					row(w, v.Id, when(v.LastModified), sizeOf(v), stateOf(v))
				}
			})
		},
	}
}

func sizeOf(v *adminv1.Version) string {
	if v.DeleteMarker {
		return "-"
	}
	return humanize.IBytes(uint64(v.Size))
}

func stateOf(v *adminv1.Version) string {
	switch {
	case v.DeleteMarker:
		return "deleted"
	case v.Latest:
		return "current"
	}
	return ""
}

func newObjectRestore(a *api) *cobra.Command {
	return &cobra.Command{
		Use: "restore BUCKET/KEY [VERSION]", Short: "make an older version the current one",
		Long: `restore puts what the object was in a version, bytes and metadata, above all its versions, as a new one. Nothing
is removed, and no data is copied. Without VERSION a deleted object becomes again what it was last.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return usageError{errors.New("give BUCKET/KEY and perhaps a version")}
			}
			return nil
		},
		ValidArgsFunction: a.bucketArgs("/"),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := parseObject(args[0])
			if err != nil {
				return err
			}
			r := &adminv1.RestoreVersionRequest{Bucket: at.bucket, Key: at.key}
			if len(args) == 2 {
				r.Version = args[1]
			}
			s, err := a.connect()
			if err != nil {
				return err
			}
			restored, err := call(cmd.Context(), s.objects.RestoreVersion, r)
			if err != nil {
				return err
			}
			return show(a, cmd, restored, func(w io.Writer) { row(w, restored.Version) })
		},
	}
}
