package tenancy

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k3fs/tenancy/policy"
)

// Settings are what the owner of a bucket set on it, by name, as the doors store it. The ones that decide who
// may use the bucket are read here.
type Settings map[string][]byte

// The names of the settings that are read here.
const (
	SettingPolicy       = "policy"        // JSON, as it was given
	SettingACL          = "acl"           // an encoded ACL
	SettingPublicAccess = "public-access" // an encoded PublicAccess
	SettingOwnership    = "ownership"     // an Ownership; none means BucketOwnerEnforced
)

// Ownership says whether ACLs count, and who owns what others write ("Controlling ownership of objects" in the
// S3 user guide).
type Ownership string

// The ownerships. NoOwnership is a bucket whose controls were deleted: as ObjectWriter.
const (
	OwnerEnforced  Ownership = "BucketOwnerEnforced"
	OwnerPreferred Ownership = "BucketOwnerPreferred"
	ObjectWriter   Ownership = "ObjectWriter"
	NoOwnership    Ownership = "none"
)

// Ownership returns the one in force.
func (s Settings) Ownership() Ownership {
	switch o := Ownership(s[SettingOwnership]); o {
	case OwnerPreferred, ObjectWriter, NoOwnership:
		return o
	}
	return OwnerEnforced
}

// PublicAccess is the block of public access; each part of it is off by default.
type PublicAccess struct {
	BlockPublicAcls       bool // refuse ACLs that grant to everyone
	IgnorePublicAcls      bool // let such grants mean nothing
	BlockPublicPolicy     bool // refuse policies that are public
	RestrictPublicBuckets bool // let a public policy allow nothing to others
}

// PublicAccess returns the block in force. One that can't be read blocks everything.
func (s Settings) PublicAccess() (b PublicAccess) {
	raw := s[SettingPublicAccess]
	if len(raw) == 0 {
		return b
	}
	if json.Unmarshal(raw, &b) != nil {
		return PublicAccess{true, true, true, true}
	}
	return b
}

// Encode is the stored form.
func (b PublicAccess) Encode() []byte {
	raw, err := json.Marshal(b)
	if err != nil { // four truth values can be written
		panic(err)
	}
	return raw
}

// Shared reports whether the bucket is known to others than its owner: it has a policy, or ACLs count. To
// others a bucket that is not shared looks as if there were none.
func (s Settings) Shared() bool {
	return len(s[SettingPolicy]) > 0 || s.Ownership() != OwnerEnforced
}

// ErrNoObject is what Resource.Object answers where there is none.
var ErrNoObject = errors.New("tenancy: no such object")

// ObjectRules are what an object's own record says about who may use it.
type ObjectRules struct {
	ACL  []byte // encoded; nil: only the bucket's rules
	Tags map[string]string
}

// maxPolicies bounds the cache of parsed policies; past it the cache starts anew.
const maxPolicies = 4 << 10

// policyOf parses a policy, or finds it parsed.
func (t *Tenancy) policyOf(raw []byte, bucket string) (*policy.Document, error) {
	return t.remember(bucket+"\x00"+string(raw), func() (*policy.Document, error) { return parsePolicy(raw, bucket) })
}

// remember parses a policy, or finds it parsed under a name that says everything about it.
func (t *Tenancy) remember(about string, parse func() (*policy.Document, error)) (*policy.Document, error) {
	name := sha256.Sum256([]byte(about))
	t.mu.RLock()
	d, ok := t.policies[name]
	t.mu.RUnlock()
	if ok {
		return d, nil
	}
	d, err := parse()
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.policies) >= maxPolicies || t.policies == nil {
		t.policies = make(map[[sha256.Size]byte]*policy.Document)
	}
	t.policies[name] = d
	return d, nil
}

func parsePolicy(raw []byte, bucket string) (*policy.Document, error) {
	d, err := policy.Parse(raw, bucket)
	if err != nil {
		return nil, fmt.Errorf("%w: bucket policy: %w", ErrCorrupt, err)
	}
	return d, nil
}

// CheckPolicy says whether a policy may be set on a bucket with these settings: *policy.Error if it is none,
// ErrDenied if it is public and that is blocked.
func (s Settings) CheckPolicy(raw []byte, bucket string) error {
	d, err := policy.Parse(raw, bucket)
	if err != nil {
		return err
	}
	if s.PublicAccess().BlockPublicPolicy && d.Public() {
		return fmt.Errorf("%w: public policies are blocked", ErrDenied)
	}
	return nil
}

// PolicyIsPublic reports whether the bucket's policy is public; false without one.
func (s Settings) PolicyIsPublic(bucket string) bool {
	d, err := policy.Parse(s[SettingPolicy], bucket)
	return err == nil && d.Public()
}

// who is the principal as policies name it.
func (p Principal) who() policy.Who {
	if !p.known() {
		return policy.Who{}
	}
	return policy.Who{Accounts: []string{p.Tenant.AccountID()}, User: p.Account, Canonical: p.Tenant.Canonical()}
}

// values are what policies may ask of a request: what is known of the principal and the object here, and the
// rest from the door.
func (p Principal) values(r *Resource) func(key string) []string {
	return func(key string) []string {
		if name, ok := cutTag(key); ok {
			if r.Object == nil {
				return nil
			}
			rules, err := r.Object()
			if v, has := rules.Tags[name]; err == nil && has {
				return []string{v}
			}
			return nil
		}
		if i := slices.Index([]string{"s3:resourceaccount", "aws:resourceaccount"}, key); i >= 0 {
			return []string{r.Owner.AccountID()}
		}
		if v, ok := p.value(key); ok {
			return v
		}
		if p.Request != nil && p.Request.Values != nil {
			return p.Request.Values(key)
		}
		if key == "s3:prefix" && r.Key != "" { // a directory's, on the mount
			return []string{strings.TrimSuffix(r.Key, "/") + "/"}
		}
		return nil
	}
}

func cutTag(key string) (string, bool) {
	const prefix = "s3:existingobjecttag/"
	if len(key) > len(prefix) && key[:len(prefix)] == prefix {
		return key[len(prefix):], true
	}
	return "", false
}

func (p Principal) value(key string) (v []string, ok bool) {
	switch key {
	case "aws:username", "aws:userid", "aws:principaltype", "aws:principalaccount", "aws:principalarn":
	default:
		return nil, false
	}
	if !p.known() {
		if key == "aws:principaltype" {
			return []string{"Anonymous"}, true
		}
		if key == "aws:userid" {
			return []string{"anonymous"}, true
		}
		return nil, true
	}
	kind, name := "User", []string{p.Account}
	if p.Root {
		kind, name = "Account", nil
	}
	switch key {
	case "aws:username":
		return name, true
	case "aws:userid":
		return []string{p.UserID()}, true
	case "aws:principaltype":
		return []string{kind}, true
	case "aws:principalaccount":
		return []string{p.Tenant.AccountID()}, true
	}
	return []string{p.Tenant.accountARN(p.Account)}, true
}
