package namespace

import (
	"maps"
	"path"
	"strings"

	"k3fs/tenancy"
)

// defaultExclude are the names that programs use for a while and then rename or remove (docs/semantics.md,
// "Temporary names").
var defaultExclude = exclude{
	"*.tmp", "*.temp", "*.part", "*.crdownload", // of downloads and many others
	"*~", ".*.sw?", "4913", "sed??????", // vim, sed -i
	".#*", "#*#", // Emacs
	".goutputstream-*", ".~lock.*#", "~$*", // GNOME, LibreOffice, Microsoft Office
	".nfs*", ".fuse_hidden*", ".rsync-tmp/*", // files that were removed while open, rsync --partial-dir
	".git/*.lock", "*.git/tmp_*", // git, the latter also of bare repositories
	"*-journal", "*-wal", "*-shm", // SQLite
}

// exclude are patterns of temporary names, as path.Match has them: one without a '/' is about the last component
// of a key. "dir/name" also wants a directory on the way to it that matches.
type exclude []string

// excludedBy are the patterns of a bucket.
func excludedBy(s tenancy.Settings) exclude {
	set, ok := s[SettingExclude]
	if !ok {
		return defaultExclude
	}
	return strings.Fields(string(set))
}

// valid reports whether all can be understood.
func (x exclude) valid() bool {
	for _, pattern := range x {
		dir, name := path.Split(pattern)
		dir = strings.TrimSuffix(dir, "/")
		_, err1 := path.Match(dir, "")
		_, err2 := path.Match(name, "")
		if err1 != nil || err2 != nil || name == "" || strings.Contains(dir, "/") {
			return false
		}
	}
	return true
}

// match reports whether a key's name is a temporary one. Keys of directories never are.
func (x exclude) match(objectKey string) bool {
	dirs, name := path.Split(objectKey)
	if name == "" {
		return false
	}
	for _, pattern := range x {
		above, last := path.Split(pattern)
		if !nameMatches(last, name) {
			continue
		}
		if above == "" || below(strings.TrimSuffix(above, "/"), dirs) {
			return true
		}
	}
	return false
}

// nameMatches is path.Match, with a short way for patterns that are a beginning or an end.
func nameMatches(pattern, name string) bool {
	const meta = `*?[\`
	if end, ok := strings.CutPrefix(pattern, "*"); ok && !strings.ContainsAny(end, meta) {
		return strings.HasSuffix(name, end)
	}
	if begin, ok := strings.CutSuffix(pattern, "*"); ok && !strings.ContainsAny(begin, meta) {
		return strings.HasPrefix(name, begin)
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// below reports whether one of the directories matches.
func below(pattern, dirs string) bool {
	for dir := range strings.SplitSeq(dirs, "/") {
		if ok, err := path.Match(pattern, dir); err == nil && ok && dir != "" {
			return true
		}
	}
	return false
}

// bucketExclude is the attribute of a bucket's directory that shows its patterns.
func (x *xattrOf) bucketExclude() ([]byte, error) {
	var rec bucketRec
	found, err := getRec(x.r, bucketKey(x.ino), &rec)
	if err == nil && !found {
		err = of(NoAttr)
	}
	return []byte(strings.Join(excludedBy(rec.Settings), " ")), err
}

// setBucketExclude changes them; nil restores the default, no pattern makes every name one of versions.
func (x *xattrOf) setBucketExclude(t *txn, value []byte) error {
	var rec bucketRec
	found, err := getRec(t, bucketKey(x.ino), &rec)
	if err == nil && !found {
		err = of(Unsupported)
	}
	if err == nil { // it decides what is kept, and retained by default
		err = x.v.allow(t, tenancy.PutBucketVersioning, x.ino, x.n)
	}
	if err != nil {
		return err
	}
	s := tenancy.Settings(maps.Clone(rec.Settings))
	if s == nil {
		s = tenancy.Settings{}
	}
	switch {
	case value == nil:
		delete(s, SettingExclude)
	case len(value) > maxHeader || !exclude(strings.Fields(string(value))).valid():
		return of(Invalid)
	default:
		s[SettingExclude] = value
	}
	t.fs.noteSettings(x.ino, s)
	rec.Settings = s
	return putRec(t, bucketKey(x.ino), &rec)
}
