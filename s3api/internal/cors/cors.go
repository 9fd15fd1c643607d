// Package cors is the CORS configuration of a bucket: it reads and checks one, and finds the rule that lets a page
// of another origin make a request. It is pure.
//
// An origin is answered as itself only where a rule names it (or a pattern that it matches); a rule for every
// origin answers "*". Credentials are allowed only to origins that are named in full, so that no pattern lets a
// stranger's page use a browser's own.
//
// Source: "Using cross-origin resource sharing" in the S3 user guide; the Fetch standard.
package cors

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"k3fs/s3api/internal/s3err"
)

// Bounds on a configuration.
const (
	maxRules = 100
	maxItems = 100 // of one kind in a rule
)

// Config is a bucket's configuration.
type Config struct {
	XMLName xml.Name `xml:"CORSConfiguration"`
	NS      string   `xml:"xmlns,attr,omitempty"`
	Rules   []Rule   `xml:"CORSRule"`
}

// Rule lets pages of some origins make some requests.
type Rule struct {
	ID             string   `xml:",omitempty"`
	AllowedOrigins []string `xml:"AllowedOrigin"`
	AllowedMethods []string `xml:"AllowedMethod"`
	AllowedHeaders []string `xml:"AllowedHeader"`
	ExposeHeaders  []string `xml:"ExposeHeader"`
	MaxAgeSeconds  *int     `xml:",omitempty"`
}

// Check says whether the configuration may be set.
func (c *Config) Check() error {
	bad := func(format string, args ...any) error { return s3err.New(s3err.InvalidRequest, format, args...) }
	if len(c.Rules) == 0 || len(c.Rules) > maxRules {
		return s3err.New("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	for _, r := range c.Rules {
		if len(r.AllowedOrigins) == 0 || len(r.AllowedMethods) == 0 || len(r.AllowedOrigins) > maxItems || len(r.AllowedHeaders) > maxItems || len(r.ExposeHeaders) > maxItems {
			return s3err.New("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
		}
		for _, m := range r.AllowedMethods {
			if !slices.Contains([]string{"GET", "PUT", "POST", "DELETE", "HEAD"}, m) {
				return bad("Found unsupported HTTP method in CORS config. Unsupported method is %s", m)
			}
		}
		for _, o := range r.AllowedOrigins {
			if strings.Count(o, "*") > 1 || o == "" || hasControl(o) {
				return bad("AllowedOrigin %q can not have more than one wildcard.", o)
			}
		}
		for _, h := range r.AllowedHeaders {
			if strings.Count(h, "*") > 1 || hasControl(h) {
				return bad("AllowedHeader %q can not have more than one wildcard.", h)
			}
		}
		for _, h := range r.ExposeHeaders {
			if strings.Contains(h, "*") || hasControl(h) {
				return bad("ExposeHeader %q contains wildcard. We currently do not support wildcard for ExposeHeader.", h)
			}
		}
		if len(r.ID) > 255 || r.MaxAgeSeconds != nil && *r.MaxAgeSeconds < 0 {
			return bad("A CORS rule's ID or MaxAgeSeconds is out of range.")
		}
	}
	return nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == ',' })
}

// Find returns the first rule that lets a page of the origin make a request with the method and the headers, or nil.
func (c *Config) Find(origin, method string, headers []string) *Rule {
	if origin == "" {
		return nil
	}
	for i := range c.Rules {
		r := &c.Rules[i]
		if r.origin(origin) != "" && slices.Contains(r.AllowedMethods, method) &&
			!slices.ContainsFunc(headers, func(h string) bool { return !matchesAny(r.AllowedHeaders, strings.ToLower(h)) }) {
			return r
		}
	}
	return nil
}

// origin is the pattern that the origin matches, or "".
func (r *Rule) origin(origin string) string {
	for _, pattern := range r.AllowedOrigins {
		if matches(pattern, origin) {
			return pattern
		}
	}
	return ""
}

func matchesAny(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(strings.ToLower(p), s) })
}

// matches reports whether s fits a pattern with at most one '*'.
func matches(pattern, s string) bool {
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == s
	}
	return len(s) >= len(before)+len(after) && strings.HasPrefix(s, before) && strings.HasSuffix(s, after)
}

// Answer sets the headers that tell a browser what the rule lets a page of the origin do. headers are those that
// a preflight asked about, nil for the request itself.
func (r *Rule) Answer(h http.Header, origin string, headers []string, preflight bool) {
	switch pattern := r.origin(origin); {
	case pattern == "*":
		h.Set("Access-Control-Allow-Origin", "*")
	default:
		h.Set("Access-Control-Allow-Origin", origin)
		if pattern == origin && origin != "null" {
			h.Set("Access-Control-Allow-Credentials", "true")
		}
	}
	h.Set("Access-Control-Allow-Methods", strings.Join(r.AllowedMethods, ", "))
	if len(r.ExposeHeaders) > 0 {
		h.Set("Access-Control-Expose-Headers", strings.Join(r.ExposeHeaders, ", "))
	}
	if len(headers) > 0 {
		h.Set("Access-Control-Allow-Headers", strings.ToLower(strings.Join(headers, ", ")))
	}
	if r.MaxAgeSeconds != nil && preflight {
		h.Set("Access-Control-Max-Age", strconv.Itoa(*r.MaxAgeSeconds))
	}
}

// SplitHeaders reads Access-Control-Request-Headers.
func SplitHeaders(value string) []string {
	var all []string
	for one := range strings.SplitSeq(value, ",") {
		if one = strings.TrimSpace(one); one != "" && len(all) < maxItems {
			all = append(all, one)
		}
	}
	return all
}
