package tenancy

import "k3fs/tenancy/policy"

// session is what a principal with temporary credentials may do of what its account may.
type session struct {
	role   Role             // a built-in role that narrows; empty: none
	policy *policy.Document // nil: none
}

// lets reports whether the session leaves the permission to its principal.
func (s *session) lets(a Action, r *policy.Request) bool {
	return (s.role == "" || s.role.Has(a)) && (s.policy == nil || s.policy.Evaluate(r) == policy.Allow)
}
