package nstest

import (
	"path"
	"strings"

	"k3fs/namespace"
)

// temporary reports whether the mount makes no versions of the key.
func temporary(key string) bool { return path.Ext(key) == ".tmp" }

// protected says whether a version is protected: certainly, by the attack's own clock, and possibly, by the one that
// the namespace shows, or for another of the file's names.
func (a *attacker) protected(b *book, v *kept, bypass bool) (certain, possible bool) {
	if v == nil {
		return false, false
	}
	latest, shown := a.host.Now(), a.w.FS.Clock().Now
	hollow := v.id == "null" && strings.HasSuffix(v.key, "/") // it may be a directory that was only made
	ask := func(v *kept) (certain, possible bool) {
		if v.lock.LegalHold {
			return true, true
		}
		if v.lock.Mode != namespace.NoRetention && !(bypass && v.lock.Mode == namespace.Governance) {
			certain, possible = v.lock.Until.After(latest), v.lock.Until.After(shown)
		}
		for _, h := range a.holds {
			if h.Bucket != "" && h.Bucket != b.name || !strings.HasPrefix(v.key, h.Prefix) {
				continue
			}
			from, to := h.Until, h.Until
			if h.Period > 0 {
				from, to = v.earliest.Add(h.Period), v.latest.Add(h.Period)
			}
			endless := h.Period == 0 && h.Until.IsZero()
			// Where the null version moves between keys, nobody knows when it was published.
			moved := h.Period > 0 && b.state == namespace.VersioningSuspended && v.id == "null"
			// A directory that was only made is dated by the clock of files, for want of a content.
			possible = possible || endless || moved || hollow && h.Period > 0 || to.After(shown)
			if hollow {
				continue
			}
			certain = certain || endless || from.After(latest)
		}
		return certain, possible
	}
	certain, possible = ask(v)
	if v.current {
		for _, other := range b.order {
			if other.current && other.ino == v.ino && other != v {
				_, also := ask(other)
				possible = possible || also
			}
		}
	}
	return certain, possible
}

// verdict is what the rule says of an operation.
type verdict int

const (
	either verdict = iota // the account does not know
	permits
	refuses
)

func of(certain, possible bool) verdict {
	switch {
	case certain:
		return refuses
	case possible:
		return either
	}
	return permits
}

// and is the verdict of an operation that does two things.
func (v verdict) and(o verdict) verdict {
	switch {
	case v == refuses || o == refuses:
		return refuses
	case v == either || o == either:
		return either
	}
	return permits
}

// committed is the verdict of what a file that was committed through the mount does not suffer, wherever it is.
func (a *attacker) committed(v *kept) verdict {
	if v == nil || !v.strict {
		return permits
	}
	return of(v.lock.Until.After(a.host.Now()), v.lock.Until.After(a.w.FS.Clock().Now))
}

// replace is the verdict of giving a key another content, or none.
func (a *attacker) replace(b *book, key string) verdict {
	return a.replaceVersion(b, key).and(a.committed(b.current(key)))
}

func (a *attacker) replaceVersion(b *book, key string) verdict {
	if v := b.current(key); v != nil && v.id == "null" && strings.HasSuffix(key, "/") {
		if _, possible := a.protected(b, v, false); possible {
			return either
		}
	}
	switch now := b.current(key); {
	case b.hidden[key] && b.config == nil && len(a.holds) > 0:
		return either // another of its names may be held
	case b.state == namespace.VersioningEnabled && (now == nil || now.id != "null" || !temporary(key)):
		return permits
	case b.state == "":
		return of(a.protected(b, now, false))
	case temporary(key):
		if _, possible := a.protected(b, b.null(key), false); possible {
			return either
		}
		return permits
	}
	return of(a.protected(b, b.null(key), false))
}
