package policy

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// condition is one operator on one key.
type condition struct {
	key      string // in lower case
	test     func(value, pattern string, r *Request) bool
	wanted   []string
	negated  bool
	ifExists bool
	null     bool // the operator Null
	set      set
}

type set uint8

const (
	single set = iota
	forAny
	forAll
)

// operators by name in lower case; a negated one is the same test, with the other outcome.
var operators = map[string]struct {
	test    func(value, pattern string, r *Request) bool
	valid   func(pattern string) bool
	negated bool
}{
	"stringequals":              {test: equal},
	"stringnotequals":           {test: equal, negated: true},
	"stringequalsignorecase":    {test: equalFold},
	"stringnotequalsignorecase": {test: equalFold, negated: true},
	"stringlike":                {test: matches},
	"stringnotlike":             {test: matches, negated: true},
	"numericequals":             {test: numbers(func(a, b float64) bool { return a == b }), valid: isNumber},
	"numericnotequals":          {test: numbers(func(a, b float64) bool { return a == b }), valid: isNumber, negated: true},
	"numericlessthan":           {test: numbers(func(a, b float64) bool { return a < b }), valid: isNumber},
	"numericlessthanequals":     {test: numbers(func(a, b float64) bool { return a <= b }), valid: isNumber},
	"numericgreaterthan":        {test: numbers(func(a, b float64) bool { return a > b }), valid: isNumber},
	"numericgreaterthanequals":  {test: numbers(func(a, b float64) bool { return a >= b }), valid: isNumber},
	"dateequals":                {test: dates(func(c int) bool { return c == 0 }), valid: isDate},
	"datenotequals":             {test: dates(func(c int) bool { return c == 0 }), valid: isDate, negated: true},
	"datelessthan":              {test: dates(func(c int) bool { return c < 0 }), valid: isDate},
	"datelessthanequals":        {test: dates(func(c int) bool { return c <= 0 }), valid: isDate},
	"dategreaterthan":           {test: dates(func(c int) bool { return c > 0 }), valid: isDate},
	"dategreaterthanequals":     {test: dates(func(c int) bool { return c >= 0 }), valid: isDate},
	"bool":                      {test: equalFold, valid: isBool},
	"binaryequals":              {test: binary},
	"ipaddress":                 {test: address, valid: isAddress},
	"notipaddress":              {test: address, valid: isAddress, negated: true},
	"arnequals":                 {test: matches},
	"arnlike":                   {test: matches},
	"arnnotequals":              {test: matches, negated: true},
	"arnnotlike":                {test: matches, negated: true},
}

func parseConditions(raw json.RawMessage) ([]condition, error) {
	if raw == nil {
		return nil, nil
	}
	var byOperator map[string]map[string]json.RawMessage
	if err := json.Unmarshal(raw, &byOperator); err != nil {
		return nil, bad("Policy has an invalid condition")
	}
	var all []condition
	for name, keys := range byOperator {
		for key, list := range keys {
			c, err := parseCondition(name, key, list)
			if err != nil {
				return nil, err
			}
			all = append(all, c)
		}
	}
	return all, nil
}

// keys are the condition keys of S3 ("Condition keys for Amazon S3" in the service authorization reference), without "s3:".
// One that S3 does not know is refused: a Deny with a slip in its key would never bind. Those that end in '/' are
// followed by a tag's name.
var keys = strings.Fields(`accessgrantsinstancearn accesspointnetworkorigin authtype buckettag/ dataaccesspointaccount dataaccesspointarn delimiter
	destinationregion existingjoboperation existingjobpriority existingobjecttag/ if-match if-none-match inventoryaccessibleoptionalfields
	isreplicationpauserequest jobsuspendedcause locationconstraint max-keys object-lock-legal-hold object-lock-mode
	object-lock-remaining-retention-days object-lock-retain-until-date objectcreationoperation prefix requestjoboperation requestjobpriority
	requestobjecttag/ requestobjecttagkeys resourceaccount signatureage signatureversion tlsversion versionid x-amz-acl x-amz-content-sha256
	x-amz-copy-source x-amz-grant-full-control x-amz-grant-read x-amz-grant-read-acp x-amz-grant-write x-amz-grant-write-acp
	x-amz-metadata-directive x-amz-object-ownership x-amz-server-side-encryption x-amz-server-side-encryption-aws-kms-key-id
	x-amz-server-side-encryption-customer-algorithm x-amz-storage-class x-amz-website-redirect-location`)

// globalKeys are those of all services ("AWS global condition context keys" in the IAM user guide), without "aws:". Most are
// never there in a request here; they are known, so that policies that were written for AWS can be set.
var globalKeys = strings.Fields(`assumedroot calledvia calledviafirst calledvialast chatbotsourcearn currenttime ec2instancesourceprivateipv4
	ec2instancesourcevpc epochtime federatedprovider multifactorauthage multifactorauthpresent principalaccount principalarn principalisawsservice
	principalorgid principalorgpaths principalservicename principalservicenameslist principaltag/ principaltype referer requestedregion requesttag/
	resourceaccount resourceorgid resourceorgpaths resourcetag/ securetransport sourceaccount sourcearn sourceidentity sourceip sourceorgid
	sourceorgpaths sourcevpc sourcevpcarn sourcevpce tagkeys tokenissuetime useragent userid username viaawsservice vpceaccount vpceorgid
	vpceorgpaths vpcsourceip`)

// knownKey reports whether there is such a key, in lower case. Of "k3fs:" there may be any.
func knownKey(key string) bool {
	prefix, name, _ := strings.Cut(key, ":")
	name, tag, tagged := strings.Cut(name, "/")
	if tagged {
		name += "/"
	}
	switch {
	case name == "" || tagged && tag == "":
		return false
	case prefix == "aws":
		return slices.Contains(globalKeys, name)
	case prefix == "s3":
		return slices.Contains(keys, name)
	}
	return prefix == "k3fs"
}

func parseCondition(operator, key string, raw json.RawMessage) (c condition, err error) {
	c.key = fold(key)
	if !knownKey(c.key) {
		return c, bad("Policy has an invalid condition key")
	}
	if c.wanted, err = texts(raw, true); err != nil {
		return c, bad("Policy has an invalid condition")
	}
	name := strings.ToLower(operator)
	if rest, ok := strings.CutPrefix(name, "foranyvalue:"); ok {
		name, c.set = rest, forAny
	} else if rest, ok := strings.CutPrefix(name, "forallvalues:"); ok {
		name, c.set = rest, forAll
	}
	if name == "null" && c.set == single {
		c.null = true
		if len(c.wanted) != 1 || !isBool(c.wanted[0]) {
			return c, bad("Policy has an invalid condition")
		}
		return c, nil
	}
	name, c.ifExists = strings.CutSuffix(name, "ifexists")
	o, ok := operators[name]
	if !ok {
		return c, bad("Invalid Condition type : %s", operator)
	}
	c.test, c.negated = o.test, o.negated
	for _, w := range c.wanted {
		if o.valid != nil && !strings.Contains(w, "${") && !o.valid(w) {
			return c, bad("Policy has an invalid condition value: %s", w)
		}
	}
	return c, nil
}

// holds decides the condition for a request.
func (c condition) holds(r *Request) bool {
	values := r.values(c.key)
	if c.null {
		return (len(values) == 0) == strings.EqualFold(c.wanted[0], "true")
	}
	if len(values) == 0 {
		return c.ifExists || c.set == forAll || c.negated && c.set == single
	}
	one := func(value string) bool {
		found := slices.ContainsFunc(c.wanted, func(w string) bool { return c.test(value, w, r) })
		return found != c.negated
	}
	switch c.set {
	case forAll:
		return !slices.ContainsFunc(values, func(v string) bool { return !one(v) })
	case forAny:
		return slices.ContainsFunc(values, one)
	}
	if c.negated { // none of several values may match
		return !slices.ContainsFunc(values, func(v string) bool { return !one(v) })
	}
	return slices.ContainsFunc(values, one)
}

// fixes reports whether the condition binds a statement to fixed values, so that it is not public.
func (c condition) fixes() bool {
	if c.negated || c.ifExists || c.null || c.set == forAll || len(c.wanted) == 0 {
		return false
	}
	switch c.key {
	case "aws:sourceip":
		return !slices.ContainsFunc(c.wanted, func(w string) bool {
			p, err := netip.ParsePrefix(w)
			return err == nil && (p.Addr().Is4() && p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 32)
		})
	case "aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:userid", "aws:username", "aws:sourcearn",
		"aws:sourcevpc", "aws:sourcevpce", "aws:sourceaccount", "s3:dataaccesspointaccount", "s3:dataaccesspointarn":
		return !slices.ContainsFunc(c.wanted, func(w string) bool { return strings.ContainsAny(w, "*?$") })
	}
	return false
}

// plain is a pattern with its variables, in which nothing is a wildcard.
func plain(pattern string, r *Request) (string, bool) {
	if !strings.Contains(pattern, "${") {
		return pattern, true
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(pattern, "${")
		b.WriteString(before)
		if !found {
			return b.String(), true
		}
		name, after, closed := strings.Cut(rest, "}")
		value, ok := variable(name, r)
		if !closed || !ok {
			return "", false
		}
		b.WriteString(value)
		pattern = after
	}
}

func equal(value, pattern string, r *Request) bool {
	p, ok := plain(pattern, r)
	return ok && value == p
}

func equalFold(value, pattern string, r *Request) bool {
	p, ok := plain(pattern, r)
	return ok && strings.EqualFold(value, p)
}

func matches(value, pattern string, r *Request) bool {
	t, ok := expand(pattern, r)
	return ok && likeRunes(t, value)
}

func numbers(compare func(a, b float64) bool) func(value, pattern string, r *Request) bool {
	return func(value, pattern string, r *Request) bool {
		p, ok := plain(pattern, r)
		a, err1 := strconv.ParseFloat(value, 64)
		b, err2 := strconv.ParseFloat(p, 64)
		return ok && err1 == nil && err2 == nil && compare(a, b)
	}
}

func isNumber(s string) bool { _, err := strconv.ParseFloat(s, 64); return err == nil }

func dates(compare func(c int) bool) func(value, pattern string, r *Request) bool {
	return func(value, pattern string, r *Request) bool {
		p, ok := plain(pattern, r)
		a, ok1 := parseDate(value)
		b, ok2 := parseDate(p)
		return ok && ok1 && ok2 && compare(a.Compare(b))
	}
}

func parseDate(s string) (time.Time, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(n, 0), true
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func isDate(s string) bool { _, ok := parseDate(s); return ok }

func isBool(s string) bool { return strings.EqualFold(s, "true") || strings.EqualFold(s, "false") }

func binary(value, pattern string, _ *Request) bool {
	a, err1 := base64.StdEncoding.DecodeString(value)
	b, err2 := base64.StdEncoding.DecodeString(pattern)
	return err1 == nil && err2 == nil && bytes.Equal(a, b)
}

func address(value, pattern string, r *Request) bool {
	p, ok := plain(pattern, r)
	a, err := netip.ParseAddr(value)
	n, ok2 := parsePrefix(p)
	return ok && ok2 && err == nil && n.Contains(a.Unmap())
}

func parsePrefix(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p, true
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), true
}

func isAddress(s string) bool { _, ok := parsePrefix(s); return ok }
