package tenancy

import (
	"encoding/binary"
	"fmt"
	"time"
)

// The layout of this package's records in the metastore. Every key begins with 't', the room's byte.
//
//	t t tenant(8)               tenant     its name, status and current key epoch
//	t n name                    tenant id  of the tenant with that name
//	t k tenant(8) epoch(4)      tenant key wrapped by the master key
//	t a tenant(8) name          account
//	t p tenant(8) name          policy     a named one, for accounts
//	t c access key              credential its secrets sealed under the master key
//	t i tenant(8) access key    (empty)    which access keys a tenant has
//	t u access key              time       when it was last used, roughly
//	t h tenant(8) id            share      a link to an object
//	t y tenant(8) purpose number(4)  key   that signs sessions or shares, sealed under the node's keys
//	t m tenant(8) id            (empty)    further ids by which SSE-KMS may name the tenant's key
//	t q tenant(8)               limits     of its requests and bandwidth
//	t o                         (empty)    the node is in read-only mode
//	t s                         tenant id  the highest one given out
//
// Numbers are big endian. Names and access keys are the last part of their key, so need no terminator.
const room = 't'

func tenantKey(id TenantID) []byte       { return numbered('t', id, 0) }
func tenantNameKey(name string) []byte   { return append([]byte{room, 'n'}, name...) }
func credentialKey(access string) []byte { return append([]byte{room, 'c'}, access...) }
func limitsKey(id TenantID) []byte       { return numbered('q', id, 0) }
func sequenceKey() []byte                { return []byte{room, 's'} }
func readOnlyKey() []byte                { return []byte{room, 'o'} }

func wrappedKey(id TenantID, epoch uint32) []byte {
	return binary.BigEndian.AppendUint32(numbered('k', id, 4), epoch)
}

func accountKey(id TenantID, name string) []byte {
	return append(numbered('a', id, len(name)), name...)
}

func indexKey(id TenantID, access string) []byte {
	return append(numbered('i', id, len(access)), access...)
}

func kmsKey(id TenantID, name string) []byte {
	return append(numbered('m', id, len(name)), name...)
}

func policyKey(id TenantID, name string) []byte {
	return append(numbered('p', id, len(name)), name...)
}

func signingRecord(id TenantID, name signingName) []byte {
	return binary.BigEndian.AppendUint32(append(numbered('y', id, 5), byte(name.purpose)), name.number)
}

func shareKey(id TenantID, share string) []byte {
	return append(numbered('h', id, len(share)), share...)
}

func usedKey(access string) []byte { return append([]byte{room, 'u'}, access...) }

func numbered(kind byte, id TenantID, more int) []byte {
	key := make([]byte, 2, 10+more)
	key[0], key[1] = room, kind
	return binary.BigEndian.AppendUint64(key, uint64(id))
}

// recordVersion is the first byte of every record; an unknown one is refused, never guessed at.
const recordVersion = 1

// encoder appends fields to a record. decoder reads them back in the same order.
type encoder []byte

func newEncoder() *encoder { return &encoder{recordVersion} }

func (e *encoder) uint(v uint64) { *e = binary.AppendUvarint(*e, v) }
func (e *encoder) bool(v bool) {
	if v {
		e.uint(1)
		return
	}
	e.uint(0)
}
func (e *encoder) bytes(v []byte)   { e.uint(uint64(len(v))); *e = append(*e, v...) }
func (e *encoder) string(v string)  { e.uint(uint64(len(v))); *e = append(*e, v...) }
func (e *encoder) time(v time.Time) { e.uint(uint64(v.Unix())) }

// maybe writes a time that may be zero.
func (e *encoder) maybe(v time.Time) {
	if v.IsZero() {
		e.uint(0)
		return
	}
	e.time(v)
}

func (e *encoder) strings(all []string) {
	e.uint(uint64(len(all)))
	for _, one := range all {
		e.string(one)
	}
}

type decoder struct {
	rest []byte
	bad  bool
}

func newDecoder(raw []byte) *decoder {
	if len(raw) == 0 || raw[0] != recordVersion {
		return &decoder{bad: true}
	}
	return &decoder{rest: raw[1:]}
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || d.bad {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) bool() bool {
	v := d.uint()
	d.bad = d.bad || v > 1
	return v == 1
}

func (d *decoder) bytes() []byte {
	n := d.uint()
	if d.bad || n > uint64(len(d.rest)) {
		d.bad = true
		return nil
	}
	if n == 0 {
		return nil // as in a record that ended before it
	}
	v := d.rest[:n:n]
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) string() string  { return string(d.bytes()) }
func (d *decoder) time() time.Time { return time.Unix(int64(d.uint()), 0).UTC() }

func (d *decoder) maybe() time.Time {
	if n := d.uint(); n != 0 {
		return time.Unix(int64(n), 0).UTC()
	}
	return time.Time{}
}

func (d *decoder) strings() (all []string) {
	n := d.uint()
	if n > uint64(len(d.rest)) { // each takes a byte at least
		d.bad = true
		return nil
	}
	for range n {
		all = append(all, d.string())
	}
	return all
}

// more reports whether the record goes on: those of earlier versions end sooner.
func (d *decoder) more() bool { return !d.bad && len(d.rest) > 0 }

// end reports whether the whole record was read and made sense.
func (d *decoder) end(what string) error {
	if d.bad || len(d.rest) != 0 {
		return fmt.Errorf("%w: %s", ErrCorrupt, what)
	}
	return nil
}

func encodeTenant(t Tenant) []byte {
	e := newEncoder()
	e.uint(uint64(t.ID))
	e.string(t.Name)
	e.uint(uint64(t.Status))
	e.uint(uint64(t.Epoch))
	e.time(t.Created)
	if t.Email != "" { // records of earlier versions end before it
		e.string(t.Email)
	}
	return *e
}

func decodeTenant(raw []byte) (Tenant, error) {
	d := newDecoder(raw)
	t := Tenant{ID: TenantID(d.uint()), Name: d.string()}
	status, epoch := d.uint(), d.uint()
	t.Created = d.time()
	if len(d.rest) > 0 {
		t.Email = d.string()
	}
	d.bad = d.bad || status > uint64(Suspended) || epoch == 0 || epoch > 1<<32-1
	t.Status, t.Epoch = Status(status), uint32(epoch)
	return t, d.end("tenant record")
}

func encodeAccount(a Account) []byte {
	e := newEncoder()
	e.bool(a.Root)
	e.string(a.rootKey)
	e.bool(a.generated)
	e.time(a.Created)
	e.uint(a.id) // the first records ended before it
	e.string(string(a.Role))
	e.bool(a.Disabled)
	e.maybe(a.Expires)
	e.strings(a.Policies)
	e.uint(a.sessions)
	return *e
}

func decodeAccount(id TenantID, name string, raw []byte) (Account, error) {
	d := newDecoder(raw)
	a := Account{Tenant: id, Name: name}
	a.Root = d.bool()
	a.rootKey = d.string()
	a.generated = d.bool()
	a.Created = d.time()
	if !a.Root {
		a.Role = RoleReadWrite
	}
	if d.more() {
		a.id = d.uint()
		a.Role = Role(d.string())
		a.Disabled = d.bool()
		a.Expires = d.maybe()
		a.Policies = d.strings()
		a.sessions = d.uint()
		d.bad = d.bad || (a.Role.bit() == 0) != a.Root
	}
	return a, d.end("account record")
}

// sealedSecrets are the secrets of an access key as they are stored: the one in force and, for as long as the key's
// PreviousUntil says, the one before it.
type sealedSecrets struct{ current, previous []byte }

func encodeCredential(k AccessKey, sealed sealedSecrets) []byte {
	e := newEncoder()
	e.uint(uint64(k.Tenant))
	e.string(k.Account)
	e.bool(k.Root)
	e.bool(k.Disabled)
	e.time(k.Created)
	e.bytes(sealed.current)
	e.maybe(k.Expires) // the first records ended before it
	e.maybe(k.PreviousUntil)
	e.bytes(sealed.previous)
	return *e
}

func decodeCredential(access string, raw []byte) (AccessKey, sealedSecrets, error) {
	d := newDecoder(raw)
	k := AccessKey{ID: access, Tenant: TenantID(d.uint()), Account: d.string()}
	k.Root = d.bool()
	k.Disabled = d.bool()
	k.Created = d.time()
	sealed := sealedSecrets{current: d.bytes()}
	if d.more() {
		k.Expires = d.maybe()
		k.PreviousUntil = d.maybe()
		sealed.previous = d.bytes()
	}
	return k, sealed, d.end("credential record")
}

func encodePolicy(p Policy) []byte {
	e := newEncoder()
	e.time(p.Updated)
	e.bytes(p.Document)
	return *e
}

func decodePolicy(name string, raw []byte) (Policy, error) {
	d := newDecoder(raw)
	p := Policy{Name: name, Updated: d.time(), Document: d.bytes()}
	return p, d.end("policy record")
}

func encodeID(id TenantID) []byte {
	e := newEncoder()
	e.uint(uint64(id))
	return *e
}

func decodeID(raw []byte) (TenantID, error) {
	d := newDecoder(raw)
	id := TenantID(d.uint())
	return id, d.end("tenant number")
}
