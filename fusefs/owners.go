package fusefs

import (
	"errors"
	"fmt"

	"k3fs/namespace"
)

// Owners say whose the files of a mount seem to be, and how their modes seem to be set. What is stored stays
// as it is; the kernel checks permissions against what is shown. The zero value shows what is stored.
type Owners struct {
	UID, GID   *uint32   // all files are this user's, this group's
	UIDs, GIDs []IDRange // else: users and groups are translated; empty means not at all
	// All files, all directories, have the permission bits 0777 less these. Set-id bits and the sticky bit are
	// then not shown.
	FileMask, DirMask *uint32
}

// IDRange translates Count numbers of users or groups: those stored from Stored on are shown from Shown on.
type IDRange struct {
	Shown, Stored, Count uint32
}

// nobody is shown for a stored user or group that no range translates, as the kernel's overflow ids are.
const nobody = 65534

func (o Owners) zero() bool {
	return o.UID == nil && o.GID == nil && len(o.UIDs) == 0 && len(o.GIDs) == 0 && o.FileMask == nil && o.DirMask == nil
}

// Validate says what is wrong, in words for the one who set them.
func (o Owners) Validate() error {
	if o.UID != nil && len(o.UIDs) > 0 || o.GID != nil && len(o.GIDs) > 0 {
		return errors.New("fusefs: either all files have one owner (uid, gid) or owners are translated (uidmap, gidmap)")
	}
	for _, m := range []*uint32{o.FileMask, o.DirMask} {
		if m != nil && *m > 0o777 {
			return fmt.Errorf("fusefs: the mask %#o is no mask of permission bits", *m)
		}
	}
	return errors.Join(checkRanges("users", o.UIDs), checkRanges("groups", o.GIDs))
}

// checkRanges makes sure that each number means one other, in both directions.
func checkRanges(what string, all []IDRange) error {
	overlap := func(a, an, b, bn uint32) bool {
		return uint64(a) < uint64(b)+uint64(bn) && uint64(b) < uint64(a)+uint64(an)
	}
	for i, r := range all {
		if r.Count == 0 || uint64(r.Shown)+uint64(r.Count) > 1<<32-1 || uint64(r.Stored)+uint64(r.Count) > 1<<32-1 {
			return fmt.Errorf("fusefs: the range %d:%d:%d of %s is empty or goes too far", r.Shown, r.Stored, r.Count, what)
		}
		for _, s := range all[:i] {
			if overlap(r.Shown, r.Count, s.Shown, s.Count) || overlap(r.Stored, r.Count, s.Stored, s.Count) {
				return fmt.Errorf("fusefs: the ranges %d:%d:%d and %d:%d:%d of %s overlap",
					s.Shown, s.Stored, s.Count, r.Shown, r.Stored, r.Count, what)
			}
		}
	}
	return nil
}

// show makes a what the mount shows.
func (o *Owners) show(a *namespace.Attr) {
	a.UID, a.GID = shownID(a.UID, o.UID, o.UIDs), shownID(a.GID, o.GID, o.GIDs)
	if mask := o.mask(a.Type); mask != nil {
		a.Mode = 0o777 &^ *mask
	}
}

// mask is what fixes the mode of files of a type, if anything does.
func (o *Owners) mask(t namespace.Type) *uint32 {
	switch t {
	case namespace.Dir:
		return o.DirMask
	case namespace.Symlink:
		return nil // its mode means nothing
	}
	return o.FileMask
}

func shownID(stored uint32, all *uint32, ranges []IDRange) uint32 {
	if all != nil {
		return *all
	}
	if len(ranges) == 0 {
		return stored
	}
	for _, r := range ranges {
		if stored >= r.Stored && stored-r.Stored < r.Count {
			return r.Shown + (stored - r.Stored)
		}
	}
	return nobody
}

func storedID(shown uint32, ranges []IDRange) (uint32, bool) {
	if len(ranges) == 0 {
		return shown, true
	}
	for _, r := range ranges {
		if shown >= r.Shown && shown-r.Shown < r.Count {
			return r.Stored + (shown - r.Shown), true
		}
	}
	return 0, false
}

// errUnmapped: a user or group that has no number in the store would own a file (EOVERFLOW, as on the kernel's
// own idmapped mounts).
var errUnmapped = errors.New("no uidmap or gidmap translates the owner")

// store makes the owner of a new file what is stored.
func (o *Owners) store(n *namespace.NewNode) error {
	uid, known := storedID(n.UID, o.UIDs)
	gid, too := storedID(n.GID, o.GIDs)
	if !known || !too {
		return errUnmapped
	}
	n.UID, n.GID = uid, gid
	return nil
}

// take makes a change of owner or mode what is stored, of a file that has now. Where the mount decides what is
// shown it can't be changed, and a change to what is shown already changes nothing.
func (o *Owners) take(s *namespace.SetAttr, now namespace.Attr) error {
	shown := now
	o.show(&shown)
	fixed := func(want **uint32, is uint32) error {
		if *want == nil || **want == is {
			*want = nil
			return nil
		}
		return &namespace.Error{Kind: namespace.NotPermitted}
	}
	translated := func(want **uint32, ranges []IDRange) error {
		if *want == nil {
			return nil
		}
		id, known := storedID(**want, ranges)
		if !known {
			return errUnmapped
		}
		*want = &id
		return nil
	}
	var errs [3]error
	if o.mask(now.Type) != nil {
		errs[0] = fixed(&s.Mode, shown.Mode)
	}
	if o.UID != nil {
		errs[1] = fixed(&s.UID, shown.UID)
	} else {
		errs[1] = translated(&s.UID, o.UIDs)
	}
	if o.GID != nil {
		errs[2] = fixed(&s.GID, shown.GID)
	} else {
		errs[2] = translated(&s.GID, o.GIDs)
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
