package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds on what is parsed.
const (
	MaxSize  = 20 << 10 // bytes of a document, as S3 bounds it
	maxDepth = 8
)

// Error says to the client what is wrong with a document.
type Error struct{ message string }

func (e *Error) Error() string { return e.message }

func bad(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// Document is a policy.
type Document struct {
	statements []statement
}

type statement struct {
	deny       bool
	not        struct{ principal, action, resource bool } // NotPrincipal, NotAction, NotResource
	principals []principal
	actions    []string // patterns, in lower case
	resources  []string // patterns of "bucket" or "bucket/key"
	conditions []condition
}

// principal is one of those that a statement is about.
type principal struct {
	kind principalKind
	id   string
}

type principalKind uint8

const (
	everyone  principalKind = iota // "*"
	account                        // an account id or name
	user                           // account, ':', name of the user in it
	canonical                      // a canonical user id
	foreign                        // a service, a federation or a role: nobody here
)

// Parse reads the policy of a bucket. Errors are *Error.
func Parse(raw []byte, bucket string) (*Document, error) {
	return parse(raw, func(one json.RawMessage) (statement, error) { return parseStatement(one, &bucket) })
}

// ParseIdentity reads a policy for an account or a session: it names no principals, and may be about any bucket.
// Errors are *Error.
func ParseIdentity(raw []byte) (*Document, error) {
	return parse(raw, func(one json.RawMessage) (statement, error) { return parseStatement(one, nil) })
}

func parse(raw []byte, statementOf func(json.RawMessage) (statement, error)) (*Document, error) {
	if len(raw) > MaxSize {
		return nil, bad("Policy exceeds the maximum allowed document size.")
	}
	if err := checkJSON(raw); err != nil {
		return nil, bad("Policies must be valid JSON and the first byte must be '{'")
	}
	var doc struct {
		Version   *string
		ID        *string `json:"Id"`
		Statement json.RawMessage
	}
	if err := strictly(raw, &doc, "Version", "Id", "Statement"); err != nil {
		return nil, err
	}
	if doc.Version != nil && *doc.Version != "2012-10-17" && *doc.Version != "2008-10-17" {
		return nil, bad("The policy must contain a valid version string")
	}
	all, err := oneOrMore(doc.Statement)
	if err != nil || len(all) == 0 {
		return nil, bad("Missing required field Statement")
	}
	d := &Document{}
	for _, one := range all {
		s, err := statementOf(one)
		if err != nil {
			return nil, err
		}
		d.statements = append(d.statements, s)
	}
	return d, nil
}

// checkJSON walks a document: it must be one object, not too deep, and no object may have a name twice.
func checkJSON(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	t, err := d.Token()
	if err != nil || t != json.Delim('{') {
		return errors.New("no object")
	}
	if err := checkValue(d, t, 1); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows")
	}
	return nil
}

// checkValue walks the rest of a value that began with t.
func checkValue(d *json.Decoder, t json.Token, depth int) error {
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if depth > maxDepth {
		return errors.New("too deep")
	}
	names := map[string]bool{}
	for d.More() {
		if open == '{' {
			t, err := d.Token()
			if err != nil {
				return err
			}
			name, _ := t.(string)
			if names[name] {
				return errors.New("a name comes twice")
			}
			names[name] = true
		}
		t, err := d.Token()
		if err != nil {
			return err
		}
		if err := checkValue(d, t, depth+1); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// strictly reads an object that has no other names than these, in this spelling.
func strictly(raw []byte, into any, names ...string) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return bad("Policy has an element that is no object")
	}
next:
	for field := range fields {
		for _, name := range names {
			if field == name {
				continue next
			}
		}
		return bad("Unknown field %s", field)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return bad("Policy has an element of a wrong type")
	}
	return nil
}

// oneOrMore reads a value that is one, or a list of them.
func oneOrMore(raw json.RawMessage) ([]json.RawMessage, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, errors.New("missing")
	}
	if raw[0] != '[' {
		return []json.RawMessage{raw}, nil
	}
	var all []json.RawMessage
	return all, json.Unmarshal(raw, &all)
}

// texts reads a string, or a list of strings. Of conditions, numbers and truth values count as strings.
func texts(raw json.RawMessage, scalars bool) ([]string, error) {
	all, err := oneOrMore(raw)
	if err != nil {
		return nil, err
	}
	var values []string
	for _, one := range all {
		var s string
		switch {
		case len(one) > 0 && one[0] == '"':
			if err := json.Unmarshal(one, &s); err != nil {
				return nil, err
			}
		case scalars && len(one) > 0 && one[0] != '{' && one[0] != '[' && string(one) != "null":
			s = string(one)
		default:
			return nil, errors.New("no string")
		}
		values = append(values, s)
	}
	return values, nil
}

// parseStatement reads a statement of a bucket's policy, or of an identity's, where bucket is nil.
func parseStatement(raw json.RawMessage, bucket *string) (statement, error) {
	var s statement
	var f struct {
		Sid, Effect                                                                  *string
		Principal, NotPrincipal, Action, NotAction, Resource, NotResource, Condition json.RawMessage
	}
	err := strictly(raw, &f, "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
	if err != nil {
		return s, err
	}
	switch {
	case f.Effect == nil:
		return s, bad("Missing required field Effect")
	case *f.Effect != "Allow" && *f.Effect != "Deny":
		return s, bad("Invalid effect: %s", *f.Effect)
	}
	s.deny = *f.Effect == "Deny"
	if err := s.parseWhom(f.Principal, f.NotPrincipal, bucket == nil); err != nil {
		return s, err
	}
	var chosen json.RawMessage
	if chosen, s.not.action, err = either(f.Action, f.NotAction, "Action"); err != nil {
		return s, err
	}
	if s.actions, err = parseActions(chosen, bucket == nil); err != nil {
		return s, err
	}
	if chosen, s.not.resource, err = either(f.Resource, f.NotResource, "Resource"); err != nil {
		return s, err
	}
	if bucket == nil {
		s.resources, err = parseAnyResources(chosen)
	} else {
		s.resources, err = parseResources(chosen, *bucket)
	}
	if err != nil {
		return s, err
	}
	s.conditions, err = parseConditions(f.Condition)
	return s, err
}

// parseWhom reads whom a statement is about: an identity's is about the identity.
func (s *statement) parseWhom(plain, negated json.RawMessage, identity bool) (err error) {
	if identity {
		if plain != nil || negated != nil {
			return bad("A policy of an identity has no Principal")
		}
		s.principals = []principal{{kind: everyone}}
		return nil
	}
	var chosen json.RawMessage
	if chosen, s.not.principal, err = either(plain, negated, "Principal"); err != nil {
		return err
	}
	if s.not.principal && !s.deny {
		return bad("Allow with NotPrincipal is not allowed.")
	}
	s.principals, err = parsePrincipals(chosen)
	return err
}

// either returns the one of two elements that is there.
func either(plain, negated json.RawMessage, name string) (raw json.RawMessage, not bool, err error) {
	switch {
	case plain == nil && negated == nil:
		return nil, false, bad("Missing required field %s", name)
	case plain != nil && negated != nil:
		return nil, false, bad("A statement has both %s and Not%s", name, name)
	case plain == nil:
		return negated, true, nil
	}
	return plain, false, nil
}

func parsePrincipals(raw json.RawMessage) ([]principal, error) {
	invalid := bad("Invalid principal in policy")
	var star string
	if json.Unmarshal(raw, &star) == nil {
		if star != "*" {
			return nil, invalid
		}
		return []principal{{kind: everyone}}, nil
	}
	var kinds map[string]json.RawMessage
	if json.Unmarshal(raw, &kinds) != nil || len(kinds) == 0 {
		return nil, invalid
	}
	var all []principal
	for kind, list := range kinds {
		ids, err := texts(list, false)
		if err != nil || len(ids) == 0 {
			return nil, invalid
		}
		for _, id := range ids {
			p, ok := parsePrincipal(kind, id)
			if !ok {
				return nil, invalid
			}
			all = append(all, p)
		}
	}
	return all, nil
}

func parsePrincipal(kind, id string) (principal, bool) {
	switch {
	case id == "":
		return principal{}, false
	case kind == "CanonicalUser":
		return principal{canonical, strings.ToLower(id)}, true
	case kind == "Service", kind == "Federated":
		return principal{kind: foreign}, true
	case kind != "AWS":
		return principal{}, false
	case id == "*":
		return principal{kind: everyone}, true
	case !strings.HasPrefix(id, "arn:"):
		return principal{account, id}, !strings.ContainsAny(id, ":/*? ")
	}
	parts := strings.SplitN(id, ":", 6) // arn:aws:iam::ACCOUNT:root or :user/NAME
	if len(parts) != 6 || parts[2] != "iam" && parts[2] != "sts" || strings.ContainsAny(id, "*?") {
		return principal{}, false
	}
	name, isUser := strings.CutPrefix(parts[5], "user/")
	if role, isRole := strings.CutPrefix(parts[5], "role/"); isRole && parts[2] == "iam" { // an account is what can be assumed
		name, isUser = role, true
	}
	switch {
	case parts[5] == "root":
		return principal{account, parts[4]}, true
	case isUser && name != "":
		return principal{user, parts[4] + ":" + name[strings.LastIndexByte(name, '/')+1:]}, true
	}
	return principal{kind: foreign}, true // a session, a group: they may exist elsewhere
}

func parseActions(raw json.RawMessage, identity bool) ([]string, error) {
	all, err := texts(raw, false)
	if err != nil || len(all) == 0 {
		return nil, bad("Policy has invalid action")
	}
	for i, a := range all {
		lower := strings.ToLower(a)
		known := lower == "*" || strings.HasPrefix(lower, "s3:") || strings.HasPrefix(lower, "k3fs:") ||
			identity && strings.HasPrefix(lower, "sts:")
		if !known || len(lower) > 128 {
			return nil, bad("Policy has invalid action")
		}
		all[i] = lower
	}
	return all, nil
}

// parseResources reads ARNs. Each must be about the bucket that the policy is of.
func parseResources(raw json.RawMessage, bucket string) ([]string, error) {
	invalid := bad("Policy has invalid resource")
	all, err := texts(raw, false)
	if err != nil || len(all) == 0 {
		return nil, invalid
	}
	for i, arn := range all {
		if arn == "*" {
			continue
		}
		parts := strings.SplitN(arn, ":", 6)
		if len(parts) != 6 || parts[0] != "arn" || parts[2] != "s3" {
			return nil, invalid
		}
		name, _, _ := strings.Cut(parts[5], "/")
		if name == "" || !strings.Contains(name, "${") && !like(name, bucket) {
			return nil, invalid
		}
		all[i] = parts[5]
	}
	return all, nil
}

// parseAnyResources reads ARNs: those of S3 as "bucket" and "bucket/key", and those of accounts whole.
func parseAnyResources(raw json.RawMessage) ([]string, error) {
	invalid := bad("Policy has invalid resource")
	all, err := texts(raw, false)
	if err != nil || len(all) == 0 {
		return nil, invalid
	}
	for i, arn := range all {
		parts := strings.SplitN(arn, ":", 6)
		switch {
		case arn == "*":
		case len(parts) != 6 || parts[0] != "arn" || parts[5] == "":
			return nil, invalid
		case parts[2] == "s3":
			all[i] = parts[5]
		case parts[2] != "iam":
			return nil, invalid
		}
	}
	return all, nil
}
