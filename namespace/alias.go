package namespace

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"k3fs/metastore"
)

// The alias rule (docs/semantics.md, "Names that POSIX can't say"). A stored name is a component of a
// key, with a trailing '/' if it is a directory. POSIX shows the component itself, unless that is not
// possible:
//
//	the component is empty, "." or ".."
//	it is longer than 255 bytes
//	it begins with the reserved prefix
//	it is a leaf beside a directory of the same name
//
// Then POSIX shows an alias: the reserved prefix, the kind of the entry, and the component as it is; or,
// where that is too long, a hash of the stored name, which an nA record leads back. Nothing that begins
// with the reserved prefix can be made through POSIX, so no POSIX name forges an alias, and an entry has
// exactly one name at a time.
const (
	aliasPrefix = ".k3fs~"
	leafAlias   = aliasPrefix + "f~"
	dirAlias    = aliasPrefix + "d~"
	hashAlias   = aliasPrefix + "h~"

	maxName = 255 // bytes of a POSIX name
)

func isDirName(stored string) bool { return strings.HasSuffix(stored, "/") }

// component is the stored name without a directory's '/'.
func component(stored string) string { return strings.TrimSuffix(stored, "/") }

func reserved(name string) bool { return strings.HasPrefix(name, aliasPrefix) }

// plain reports whether POSIX can show the component as it is.
func plain(c string) bool {
	return c != "" && c != "." && c != ".." && len(c) <= maxName && !reserved(c)
}

// aliasOf is the alias of a stored name, needed or not. hashed: only an nA record leads back from it.
func aliasOf(stored string) (alias string, hashed bool) {
	prefix := leafAlias
	if isDirName(stored) {
		prefix = dirAlias
	}
	c := component(stored)
	if len(prefix)+len(c) <= maxName {
		return prefix + c, false
	}
	sum := sha256.Sum256([]byte(stored))
	return hashAlias + hex.EncodeToString(sum[:]), true
}

// shown is the POSIX name of a stored name. hidden: it is a leaf beside a directory of the same name.
func shown(stored string, hidden bool) string {
	if c := component(stored); plain(c) && !hidden {
		return c
	}
	alias, _ := aliasOf(stored)
	return alias
}

// recordedAlias is the alias under which stored needs an nA record: always for a leaf whose alias is a
// hash, since a directory of its name may come at any time.
func recordedAlias(stored string) (alias string, needed bool) {
	alias, hashed := aliasOf(stored)
	return alias, hashed && !(isDirName(stored) && plain(component(stored)))
}

// unalias is the stored name that an alias in parent stands for, whether or not it is the entry's name
// at the moment; "" if none.
func unalias(r metastore.Reader, parent Ino, alias string) (stored string, err error) {
	if c, ok := strings.CutPrefix(alias, leafAlias); ok {
		return c, nil
	}
	if c, ok := strings.CutPrefix(alias, dirAlias); ok {
		return c + "/", nil
	}
	b, err := r.Get(aliasKey(parent, alias))
	if errors.Is(err, metastore.ErrNotFound) {
		return "", nil
	}
	return string(b), err
}

// checkName rejects what can't be a POSIX name at all.
func checkName(name string) error {
	switch {
	case len(name) > maxName:
		return of(NameTooLong)
	case name == "" || name == "." || name == "..", strings.ContainsAny(name, "/\x00"):
		return of(Invalid)
	}
	return nil
}

// entry is what a POSIX name in a directory means.
type entry struct {
	stored string // "" if the name is free
	dentryRec
}

func (e entry) found() bool { return e.stored != "" }

// resolve finds the entry that POSIX calls name in parent.
func resolve(r metastore.Reader, parent Ino, name string) (entry, error) {
	if err := checkName(name); err != nil {
		return entry{}, err
	}
	if reserved(name) {
		return resolveAlias(r, parent, name)
	}
	if e, err := storedEntry(r, parent, name+"/"); err != nil || e.found() {
		return e, err
	}
	return storedEntry(r, parent, name)
}

func resolveAlias(r metastore.Reader, parent Ino, alias string) (entry, error) {
	stored, err := unalias(r, parent, alias)
	if err != nil || stored == "" {
		return entry{}, err
	}
	e, err := storedEntry(r, parent, stored)
	if err != nil || !e.found() || !plain(component(stored)) {
		return e, err
	}
	// The alias is its name only while a directory of the same name hides it.
	if !isDirName(stored) {
		dir, err := storedEntry(r, parent, stored+"/")
		if err != nil || dir.found() {
			return e, err
		}
	}
	return entry{}, nil
}

// storedEntry reads the entry of a stored name.
func storedEntry(r metastore.Reader, parent Ino, stored string) (entry, error) {
	e := entry{stored: stored}
	found, err := getRec(r, dentryKey(parent, stored), &e.dentryRec)
	if err != nil || !found {
		return entry{}, err
	}
	return e, nil
}

// freeName checks that POSIX may give name to a new entry, where resolve found none.
func freeName(name string) error {
	if reserved(name) {
		return of(InvalidName)
	}
	return nil
}
