package policy

import (
	"slices"
	"strings"
)

// Who is the one that asks. The zero Who is nobody.
type Who struct {
	Accounts  []string // the account's id and name; empty for nobody
	User      string   // the name in it
	Canonical string   // the account's canonical user id
}

// Request is what a policy is asked about.
type Request struct {
	Who      Who
	Action   string // "s3:GetObject"
	Resource string // "bucket" or "bucket/key"
	// Values returns what is known under a condition key, in lower case but for a tag's name
	// ("s3:existingobjecttag/Name"); nil if nothing is. It may be nil.
	Values func(key string) []string
}

func (r *Request) values(key string) []string {
	if r.Values == nil {
		return nil
	}
	return r.Values(fold(key))
}

// fold is a condition key in lower case, but for what follows a '/': the name of a tag.
func fold(key string) string {
	name, rest, found := strings.Cut(key, "/")
	if name = strings.ToLower(name); found {
		name += "/" + rest
	}
	return name
}

// Decision is what a policy says.
type Decision uint8

// The decisions, each stronger than those before it. An explicit Deny wins over every Allow, wherever that comes from.
const (
	Undecided Decision = iota
	Delegated          // allowed to the account of who asks, whose own policies say whether that is for the user too
	Allow
	Deny
)

// Evaluate says what the document decides about a request.
func (d *Document) Evaluate(r *Request) Decision {
	decision := Undecided
	for i := range d.statements {
		s := &d.statements[i]
		whom := s.matchesPrincipal(&r.Who)
		if (whom != Undecided) == s.not.principal || !s.applies(r) {
			continue
		}
		if s.deny {
			return Deny
		}
		decision = max(decision, whom)
	}
	return decision
}

// applies reports whether a statement is about what r asks, whoever asks.
func (s *statement) applies(r *Request) bool {
	if s.matchesAction(r.Action) == s.not.action {
		return false
	}
	if s.matchesResource(r) == s.not.resource {
		return false
	}
	for _, c := range s.conditions {
		if !c.holds(r) {
			return false
		}
	}
	return true
}

// matchesPrincipal says how a statement names who asks: not (Undecided), by his account (Delegated), or himself.
func (s *statement) matchesPrincipal(w *Who) Decision {
	best := Undecided
	for _, p := range s.principals {
		switch p.kind {
		case everyone:
			return Allow
		case account:
			if slices.Contains(w.Accounts, p.id) {
				best = Delegated
			}
		case user:
			for _, a := range w.Accounts {
				if p.id == a+":"+w.User {
					return Allow
				}
			}
		case canonical:
			if w.Canonical != "" && p.id == w.Canonical {
				best = Delegated
			}
		}
	}
	return best
}

func (s *statement) matchesAction(action string) bool {
	action = strings.ToLower(action)
	for _, a := range s.actions {
		if like(a, action) {
			return true
		}
	}
	return false
}

func (s *statement) matchesResource(r *Request) bool {
	for _, pattern := range s.resources {
		if pattern == "*" {
			return true
		}
		if tokens, ok := expand(pattern, r); ok && likeRunes(tokens, r.Resource) {
			return true
		}
	}
	return false
}

// Public reports whether the document allows anything to everyone, as S3's PolicyStatus and block of public
// access understand it: an Allow for all principals that no condition binds to fixed values of who asks, or
// from where.
func (d *Document) Public() bool {
	for i := range d.statements {
		s := &d.statements[i]
		if s.deny {
			continue
		}
		open := s.not.principal
		for _, p := range s.principals {
			open = open || p.kind == everyone
		}
		if open && !slices.ContainsFunc(s.conditions, condition.fixes) {
			return true
		}
	}
	return false
}

// Shared reports whether the document allows anything to anybody outside the account with these names.
func (d *Document) Shared(accounts []string, canonicalID string) bool {
	for i := range d.statements {
		s := &d.statements[i]
		if s.deny {
			continue
		}
		for _, p := range s.principals {
			own := p.kind == account && slices.Contains(accounts, p.id) || p.kind == canonical && p.id == canonicalID
			if p.kind == user {
				name, _, _ := strings.Cut(p.id, ":")
				own = slices.Contains(accounts, name)
			}
			if s.not.principal || !own {
				return true
			}
		}
	}
	return false
}
