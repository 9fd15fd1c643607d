package namespace

import (
	"cmp"
	"context"
	"errors"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// end is one side of a rename.
type end struct {
	parent Ino
	dir    *inodeRec // the parent's record; the two ends share it if they share the parent
	name   string
	entry
	n *inodeRec // nil if the name is free
}

func (e *end) isDir() bool { return e.n != nil && Type(e.n.Type) == Dir }

// Rename implements Posix (renameat2(2)).
func (v *View) Rename(ctx context.Context, parent Ino, name string, newParent Ino, newName string, flags RenameFlags) error {
	err := v.update(ctx, metastore.Ordered, func(t *txn) error {
		if flags&^(RenameNoReplace|RenameExchange) != 0 || flags == RenameNoReplace|RenameExchange {
			return of(Invalid)
		}
		from, to, err := v.renameEnds(t, parent, name, newParent, newName)
		if err != nil {
			return err
		}
		if flags&RenameExchange != 0 {
			return t.exchange(from, to)
		}
		if to.n != nil && flags&RenameNoReplace != 0 {
			return of(Exists)
		}
		return t.rename(from, to)
	})
	return fail("rename", name, err)
}

// renameEnds reads both sides and checks what holds for every rename.
func (v *View) renameEnds(t *txn, parent Ino, name string, newParent Ino, newName string) (from, to *end, err error) {
	from = &end{parent: parent, name: name}
	to = &end{parent: newParent, name: newName}
	if from.dir, err = v.dirForChange(t, parent, tenancy.DeleteObject); err != nil {
		return nil, nil, err
	}
	to.dir = from.dir
	if newParent != parent {
		if to.dir, err = v.dirForChange(t, newParent, tenancy.PutObject); err != nil {
			return nil, nil, err
		}
	}
	if from.dir.Bucket != to.dir.Bucket {
		return nil, nil, of(CrossBucket)
	}
	if err := v.readEnd(t, from, tenancy.DeleteObject); err != nil {
		return nil, nil, err
	}
	if from.n == nil {
		return nil, nil, of(NotFound)
	}
	return from, to, v.readEnd(t, to, tenancy.PutObject)
}

func (v *View) readEnd(t *txn, e *end, a tenancy.Action) (err error) {
	if e.entry, err = resolve(t, e.parent, e.name); err != nil || !e.found() {
		return err
	}
	e.n, err = v.inode(t, Ino(e.Ino), a)
	return err
}

// rename moves from's entry to to's place.
func (t *txn) rename(from, to *end) error {
	if to.n != nil && from.Ino == to.Ino {
		return nil // two names of one inode: POSIX says to do nothing
	}
	if from.isDir() && to.n != nil && !to.isDir() {
		return of(NotDir)
	}
	if !from.isDir() && to.isDir() {
		return of(IsDir)
	}
	if err := errors.Join(t.permitMove(from, to), t.noLoop(from, to)); err != nil {
		return err
	}
	if to.n == nil {
		if err := freeName(to.name); err != nil {
			return err
		}
		to.stored = storedFor(to.name, from.isDir())
	}
	if err := t.moveCharges(from, to, to.stored); err != nil {
		return err
	}
	away, here, err := t.slotsOfEnds(from, to)
	if err != nil {
		return err
	}
	if to.n != nil {
		if err := t.displace(to, here); err != nil {
			return err
		}
	}
	if err := t.moveVersion(from, away, here); err != nil {
		return err
	}
	if err := t.delDentry(from.parent, from.stored); err != nil {
		return err
	}
	if err := t.putDentry(to.parent, to.stored, from.dentryRec); err != nil {
		return err
	}
	if err := t.moveLink(Ino(from.Ino), from.n, from.parent, from.stored, to.parent, to.stored); err != nil {
		return err
	}
	if from.isDir() {
		from.dir.Nlink--
		to.dir.Nlink++
		bound, err := boundOf(t, Ino(from.Ino)) // one that nothing reaches, or that has passed
		if err != nil {
			return err
		}
		if err := t.raise(to.parent, bound); err != nil {
			return err
		}
	}
	return t.storeEnds(from, to)
}

// permitMove asks whether from's entry may go to to's place.
func (t *txn) permitMove(from, to *end) error {
	if err := errors.Join(from.dir.permit(actDropEntry), t.permit(Ino(from.Ino), from.n, actUnname)); err != nil {
		return err
	}
	if from.isDir() {
		err := errors.Join(t.fs.unlocked(t, Ino(from.Ino), from.n, actRekey, false), t.heldBelow(Ino(from.Ino), from.n), t.lockedBelow(Ino(from.Ino)))
		if err != nil {
			return err
		}
	}
	if to.n == nil {
		return to.dir.permit(actAddEntry)
	}
	return errors.Join(to.dir.permit(actDropEntry), t.permit(Ino(to.Ino), to.n, actUnname))
}

// moveCharges moves what is below a directory, which goes to another end under a stored name, to the quotas there.
func (t *txn) moveCharges(e, to *end, stored string) error {
	if !e.isDir() || len(t.fs.quotas.areas(Ino(e.dir.Bucket))) == 0 {
		return nil
	}
	_, base, err := keyOf(t, e.dir)
	if err != nil {
		return err
	}
	_, target, err := keyOf(t, to.dir)
	if err != nil {
		return err
	}
	return t.moveTree(Ino(e.Ino), e.n, base+e.stored, target+stored)
}

func storedFor(name string, dir bool) string {
	if dir {
		return name + "/"
	}
	return name
}

// noLoop refuses to move a directory below itself.
func (t *txn) noLoop(from, to *end) error {
	if !from.isDir() || from.parent == to.parent {
		return nil
	}
	inside, err := inSubtree(t, to.parent, Ino(from.Ino))
	if err == nil && inside {
		err = of(Loop)
	}
	return err
}

// slotsOfEnds are the keys of the two ends, which files leave and come to; to.stored is set.
func (t *txn) slotsOfEnds(from, to *end) (away, here slot, err error) {
	if from.parent == to.parent {
		return t.slotsOfTwo(from.dir, from.stored, to.stored)
	}
	if away, err = t.slotOf(from.dir, from.stored); err != nil {
		return away, here, err
	}
	here, err = t.slotOf(to.dir, to.stored)
	return away, here, err
}

// comeEnd makes the file at an end a version of the other end's key, which it has left its own for.
func (t *txn) comeEnd(e *end, to slot) error {
	if e.isDir() || to.state == unversioned && e.n.Seq == 0 {
		return nil
	}
	if err := t.come(to, e.n); err != nil || e.n.Published == nil || e.n.Nlink > 1 {
		return err
	}
	var err error
	e.Listed, err = shortOf(e.n)
	return err
}

// moveVersion makes the file at an end a version of another key, and leaves its own vacant.
func (t *txn) moveVersion(e *end, away, here slot) error {
	if e.isDir() {
		return nil
	}
	if err := t.leave(away, e.n, true); err != nil {
		return err
	}
	return t.comeEnd(e, here)
}

// displace removes what a rename replaces, but for its entry, which is overwritten.
func (t *txn) displace(to *end, s slot) error {
	if to.isDir() {
		if err := t.removeDir(to.parent, to.dir, to.entry, to.n); err != nil {
			return err
		}
		return nil
	}
	return t.unname(s, Ino(to.Ino), to.n, to.parent, to.stored)
}

// storeEnds stores the parents' records.
func (t *txn) storeEnds(from, to *end) error {
	if err := t.entryLeft(from.parent, from.dir); err != nil || from.parent == to.parent {
		return err
	}
	return t.touchDir(to.parent, to.dir)
}

// exchange swaps two entries.
func (t *txn) exchange(from, to *end) error {
	if to.n == nil {
		return of(NotFound)
	}
	if from.Ino == to.Ino {
		return nil
	}
	if err := errors.Join(t.permitMove(from, to), t.permitMove(to, from), t.noLoop(from, to)); err != nil {
		return err
	}
	if err := t.noLoop(to, from); err != nil {
		return err
	}
	// The name stays, the kind moves: a directory gets the '/' that its name had not.
	fromStored := storedFor(component(from.stored), to.isDir())
	toStored := storedFor(component(to.stored), from.isDir())
	if from.isDir() != to.isDir() {
		// A hidden leaf's name belongs to the directory beside it; an empty name to directories only.
		if reserved(from.name) || reserved(to.name) {
			return of(InvalidName)
		}
		// A leaf that a directory of its name hides stays where it is.
		for _, at := range []struct {
			parent Ino
			stored string
		}{{from.parent, fromStored}, {to.parent, toStored}} {
			if e, err := storedEntry(t, at.parent, at.stored); err != nil || e.found() {
				return cmp.Or(err, of(Exists))
			}
		}
	}
	if err := errors.Join(t.moveCharges(from, to, toStored), t.moveCharges(to, from, fromStored)); err != nil {
		return err
	}
	if err := t.exchangeVersions(from, to, fromStored, toStored); err != nil {
		return err
	}
	if err := t.delDentry(from.parent, from.stored); err != nil {
		return err
	}
	if err := t.delDentry(to.parent, to.stored); err != nil {
		return err
	}
	if err := t.putDentry(from.parent, fromStored, to.dentryRec); err != nil {
		return err
	}
	if err := t.putDentry(to.parent, toStored, from.dentryRec); err != nil {
		return err
	}
	if err := t.moveLink(Ino(from.Ino), from.n, from.parent, from.stored, to.parent, toStored); err != nil {
		return err
	}
	if err := t.moveLink(Ino(to.Ino), to.n, to.parent, to.stored, from.parent, fromStored); err != nil {
		return err
	}
	if from.isDir() != to.isDir() && from.parent != to.parent {
		if from.isDir() {
			from.dir.Nlink--
			to.dir.Nlink++
		} else {
			from.dir.Nlink++
			to.dir.Nlink--
		}
	}
	return t.storeEnds(from, to)
}

// exchangeVersions makes files that change places versions of each other's keys. One that changes places with a
// directory leaves its key vacant.
func (t *txn) exchangeVersions(from, to *end, fromStored, toStored string) error {
	a, b, err := t.slotsOfEnds(from, to)
	if err != nil {
		return err
	}
	vacant := from.isDir() != to.isDir()
	toA, toB := a, b
	if vacant { // the kind decides what key a name stands for
		if toA, err = t.slotOf(from.dir, fromStored); err != nil {
			return err
		}
		if toB, err = t.slotOf(to.dir, toStored); err != nil {
			return err
		}
	}
	for _, leaving := range []struct {
		e *end
		s slot
	}{{from, a}, {to, b}} {
		if !leaving.e.isDir() {
			if err := t.leave(leaving.s, leaving.e.n, vacant); err != nil {
				return err
			}
		}
	}
	return errors.Join(t.comeEnd(from, toB), t.comeEnd(to, toA))
}
