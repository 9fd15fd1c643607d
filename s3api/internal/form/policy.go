package form

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"k3fs/s3api/internal/s3err"
)

const codePolicy s3err.Code = "InvalidPolicyDocument"

// Policy is what the signer agreed to.
type Policy struct {
	expires    time.Time
	conditions []condition
	// Min and Max bound the file's length in bytes, both included; Max is -1 without a bound.
	Min, Max int64
}

// condition is one of "eq", "starts-with" on a field, whose name is in lower case.
type condition struct {
	prefix       bool
	field, value string
}

// ParsePolicy reads the policy field: base64 of a JSON document.
func ParsePolicy(field string) (*Policy, error) {
	raw, err := base64.StdEncoding.DecodeString(field)
	if err != nil {
		return nil, s3err.New(codePolicy, "Invalid Policy: Invalid base64 encoding.")
	}
	var doc struct {
		Expiration *string
		Conditions []json.RawMessage
	}
	fields, err := object(raw)
	if err != nil {
		return nil, invalid("Invalid JSON.")
	}
	for name, value := range fields {
		switch name { // the names are in this case only
		case "expiration":
			err = json.Unmarshal(value, &doc.Expiration)
		case "conditions":
			err = json.Unmarshal(value, &doc.Conditions)
		default:
			return nil, invalid("Unexpected: '" + name + "'.")
		}
		if err != nil {
			return nil, invalid("Invalid JSON.")
		}
	}
	switch {
	case doc.Expiration == nil:
		return nil, invalid("Policy missing expiration.")
	case len(doc.Conditions) == 0:
		return nil, invalid("Policy missing conditions.")
	}
	p := &Policy{Max: -1}
	if p.expires, err = parseTime(*doc.Expiration); err != nil {
		return nil, invalid("Invalid 'expiration' value.")
	}
	for _, c := range doc.Conditions {
		if err := p.add(c); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func invalid(what string) error { return s3err.New(codePolicy, "Invalid Policy: %s", what) }

// object reads one JSON object whose names are all different.
func object(raw []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	fields := map[string]json.RawMessage{}
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("no object")
	}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errors.New("no name")
		}
		if _, twice := fields[name]; twice {
			return nil, errors.New("a name comes twice")
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		fields[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one object")
	}
	return fields, nil
}

func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05.000Z"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("no time")
}

// add reads one condition: {"field": "value"}, ["eq" or "starts-with", "$field", "value"] or
// ["content-length-range", min, max].
func (p *Policy) add(raw json.RawMessage) error {
	simple := invalid("Invalid Simple-Condition: value must be a string.")
	if fields, err := object(raw); err == nil {
		if len(fields) != 1 {
			return invalid("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
		}
		for name, value := range fields {
			var v *string
			if json.Unmarshal(value, &v) != nil || v == nil {
				return simple
			}
			p.conditions = append(p.conditions, condition{false, strings.ToLower(name), *v})
		}
		return nil
	}
	var list []json.RawMessage
	var operator string
	if json.Unmarshal(raw, &list) != nil || len(list) != 3 || json.Unmarshal(list[0], &operator) != nil {
		return invalid("Invalid Condition: a condition is an object, or a list of an operator and two operands.")
	}
	operator = strings.ToLower(operator)
	if operator == "content-length-range" {
		return p.addRange(list)
	}
	var field, value *string
	if json.Unmarshal(list[1], &field) != nil || json.Unmarshal(list[2], &value) != nil || field == nil || value == nil {
		return simple
	}
	name, ok := strings.CutPrefix(*field, "$")
	if !ok || operator != "eq" && operator != "starts-with" {
		return invalid("Invalid Condition: unknown operation or field.")
	}
	p.conditions = append(p.conditions, condition{operator == "starts-with", strings.ToLower(name), *value})
	return nil
}

func (p *Policy) addRange(list []json.RawMessage) error {
	var low, high int64
	for i, n := range []*int64{&low, &high} {
		// S3 takes the numbers in quotes too.
		if err := json.Unmarshal(bytes.Trim(list[i+1], `"`), n); err != nil || *n < 0 || string(list[i+1]) == "null" {
			return invalid("Invalid content-length-range: the bounds must be numbers.")
		}
	}
	if high < low || p.Max >= 0 && p.Max < low {
		return invalid("Invalid content-length-range: the bounds exclude every length.")
	}
	p.Min = max(p.Min, low)
	if p.Max < 0 || high < p.Max {
		p.Max = high
	}
	return nil
}

// uncovered are the fields that need no condition: those of the signature itself.
var uncovered = []string{"policy", "signature", "awsaccesskeyid", "x-amz-signature", "file", "submit"}

// Check says whether the fields, and the bucket that the request goes to, are what the policy agrees to: every
// condition holds, and every field has one.
func (p *Policy) Check(now time.Time, bucket string, fields map[string]string) error {
	if !now.Before(p.expires) {
		return denied("Policy expired.")
	}
	covered := map[string]bool{}
	for _, c := range p.conditions {
		value, ok := fields[c.field]
		if c.field == "bucket" {
			value, ok = bucket, true
		}
		holds := ok && value == c.value
		if c.prefix {
			holds = ok && prefixes(c.field, value, c.value) || !ok && c.value == "" // any value, or none
		}
		if !holds {
			return denied("Policy Condition failed: the field \"" + c.field + "\"")
		}
		covered[c.field] = true
	}
	for name := range fields {
		switch {
		case covered[name], slices.Contains(uncovered, name), strings.HasPrefix(name, "x-ignore-"):
		case strings.HasPrefix(name, "x-amz-checksum-"): // can only make the upload fail
		case name == "bucket" && fields[name] == bucket:
		default:
			return denied("Extra input fields: " + name)
		}
	}
	return nil
}

// prefixes reports whether a value starts with a prefix; each of a list of content types has to.
func prefixes(field, value, prefix string) bool {
	if field != "content-type" || !strings.Contains(value, ",") {
		return strings.HasPrefix(value, prefix)
	}
	for one := range strings.SplitSeq(value, ",") {
		if !strings.HasPrefix(strings.TrimSpace(one), prefix) {
			return false
		}
	}
	return true
}

func denied(why string) error {
	return s3err.New(s3err.AccessDenied, "Invalid according to Policy: %s", why)
}

// Limit is r, with an error once it proves longer or shorter than the policy allows.
func (p *Policy) Limit(r io.Reader) io.Reader { return &limited{r: r, p: p} }

type limited struct {
	r io.Reader
	p *Policy
	n int64
}

func (l *limited) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	l.n += int64(n)
	switch {
	case l.p.Max >= 0 && l.n > l.p.Max:
		return 0, s3err.New(s3err.EntityTooLarge, "Your proposed upload exceeds the maximum allowed size")
	case err == io.EOF && l.n < l.p.Min:
		return 0, s3err.New("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
	}
	return n, err
}
