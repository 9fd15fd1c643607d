package namespace

import (
	"fmt"
	"time"
)

// LockMode is how a version is retained (S3 Object Lock).
type LockMode uint8

// The modes. The values are stored.
const (
	NoRetention LockMode = iota
	Governance           // who is permitted to, and says so, may shorten or remove it
	Compliance           // nobody may, whoever asks; it can only be lengthened
)

func (m LockMode) String() string {
	switch m {
	case NoRetention:
		return ""
	case Governance:
		return "GOVERNANCE"
	}
	return "COMPLIANCE" // also what can't be read
}

// forever is later than any time that can be stored.
const forever = int64(1<<63 - 1)

// protection is all that speaks for the bytes of a version.
type protection struct {
	lock      lockRec // the version's own
	holds     []hold  // those that cover it, of any scope
	published int64   // when it was, by the trusted clock
	versioned bool    // overwriting it and removing its name keep it, as an older version of its key
}

// refuses is the rule of Object Lock and holds: whether an act on a version is refused, and why; "" permits it.
// now is the time of the trusted clock; bypass says that who acts asks to pass governance retention and may. It
// knows nothing else: no door, no principal, no clock.
func (p *protection) refuses(a act, now int64, bypass bool) string {
	switch a {
	case actTouch, actLabel, actAddEntry, actDropEntry:
		return "" // a lock is of bytes and of what describes them, not of tags and access
	case actErase, actDescribe, actRekey:
	default:
		if p.versioned && !(p.lock.Strict && p.lock.retained(now)) {
			return "" // nothing is lost
		}
	}
	return p.reason(now, bypass)
}

// reason says by what the version is protected now; "" if it is not.
func (p *protection) reason(now int64, bypass bool) string {
	if p.lock.LegalHold {
		return "under legal hold"
	}
	if l := p.lock; l.retained(now) && !(bypass && LockMode(l.Mode) == Governance && !l.Strict) {
		return fmt.Sprintf("retained in %s mode until %s", LockMode(l.Mode), stamp(l.Until).UTC().Format(time.RFC3339))
	}
	for _, h := range p.holds {
		if h.until(p.published) > now {
			return "under hold " + h.ID
		}
	}
	return ""
}

// until is how long the version is protected as things are: forever with a legal hold or a hold without an
// end; 0 if it is not.
func (p *protection) until(now int64) int64 {
	until := int64(0)
	if p.lock.retained(now) {
		until = p.lock.Until
	}
	if p.lock.LegalHold {
		until = forever
	}
	for _, h := range p.holds {
		if t := h.until(p.published); t > now {
			until = max(until, t)
		}
	}
	return until
}

// retained reports whether retention is in force. A mode that is not known retains, too.
func (l *lockRec) retained(now int64) bool { return LockMode(l.Mode) != NoRetention && l.Until > now }

// Retention is how long, and how firmly, a version is retained. The zero Retention is none.
type Retention struct {
	Mode  LockMode
	Until time.Time
}

// retain is the rule of changing a version's retention: whether it is refused, and why. Whoever may place it
// may lengthen it; shortening, removing and another mode need a bypass of governance, and can't be done to
// compliance. What has passed is as if it had never been.
func (l *lockRec) retain(to Retention, now int64, bypass bool) string {
	until := nanos(to.Until)
	if to.Mode == NoRetention {
		until = 0
	}
	if !l.retained(now) || LockMode(l.Mode) == to.Mode && l.Until <= until {
		return ""
	}
	if LockMode(l.Mode) == Governance && !l.Strict && bypass {
		return ""
	}
	return fmt.Sprintf("retained in %s mode until %s", LockMode(l.Mode), stamp(l.Until).UTC().Format(time.RFC3339))
}

// with is a lock that protects as both do; either may be nil. What has passed of the other counts for nothing.
func (l *lockRec) with(o *lockRec, now int64) *lockRec {
	if o == nil || !o.LegalHold && !o.retained(now) {
		return l
	}
	both := lockRec{}
	if l != nil {
		both = *l
	}
	both.LegalHold = both.LegalHold || o.LegalHold
	if o.retained(now) {
		if !both.retained(now) {
			both.Mode, both.Until, both.Strict = o.Mode, o.Until, o.Strict
		}
		both.Mode, both.Until, both.Strict = max(both.Mode, o.Mode), max(both.Until, o.Until), both.Strict || o.Strict
	}
	return &both
}
