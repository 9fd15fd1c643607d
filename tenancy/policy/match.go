package policy

import "strings"

// like reports whether s matches a pattern in which '*' stands for any characters and '?' for one. It takes
// time in proportion to both lengths at worst.
func like(pattern, s string) bool { return likeRunes(wildcards(pattern), s) }

// token is a part of a pattern: a byte, any one character, or any characters.
type token struct {
	kind tokenKind
	c    byte
}

type tokenKind uint8

const (
	literal tokenKind = iota
	anyOne
	anyMany
)

func wildcards(pattern string) []token {
	t := make([]token, 0, len(pattern))
	for i := range len(pattern) {
		switch c := pattern[i]; c {
		case '*':
			t = append(t, token{kind: anyMany})
		case '?':
			t = append(t, token{kind: anyOne})
		default:
			t = append(t, token{c: c})
		}
	}
	return t
}

func likeRunes(p []token, s string) bool {
	pi, si := 0, 0
	star, mark := -1, 0
	for si < len(s) {
		switch {
		case pi < len(p) && p[pi].kind == anyMany:
			star, mark = pi, si
			pi++
			continue
		case pi < len(p) && p[pi].kind == anyOne:
			pi++
			si++
			for si < len(s) && s[si]&0xc0 == 0x80 { // the rest of a character
				si++
			}
			continue
		case pi < len(p) && p[pi].c == s[si]:
			pi++
			si++
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		pi, si = star+1, mark
	}
	for pi < len(p) && p[pi].kind == anyMany {
		pi++
	}
	return pi == len(p)
}

// expand puts what the request has in place of a pattern's variables (${aws:username}, ${key, 'default'}), as
// literal text. ok is false if the request does not have one, and the pattern then matches nothing.
func expand(pattern string, r *Request) (tokens []token, ok bool) {
	for {
		before, rest, found := strings.Cut(pattern, "${")
		tokens = append(tokens, wildcards(before)...)
		if !found {
			return tokens, true
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, false
		}
		value, has := variable(name, r)
		if !has {
			return nil, false
		}
		for i := range len(value) {
			tokens = append(tokens, token{c: value[i]})
		}
		pattern = after
	}
}

func variable(name string, r *Request) (string, bool) {
	switch name {
	case "*", "?", "$":
		return name, true
	}
	name, rest, hasDefault := strings.Cut(name, ",")
	if values := r.values(strings.TrimSpace(name)); len(values) == 1 {
		return values[0], true
	}
	rest = strings.TrimSpace(rest)
	if hasDefault && len(rest) >= 2 && rest[0] == '\'' && rest[len(rest)-1] == '\'' {
		return rest[1 : len(rest)-1], true
	}
	return "", false
}
