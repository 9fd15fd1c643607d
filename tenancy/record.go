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
//	t c access key              credential its secret sealed under the master key
//	t i tenant(8) access key    (empty)    which access keys a tenant has
//	t m tenant(8) id            (empty)    further ids by which SSE-KMS may name the tenant's key
//	t s                         tenant id  the highest one given out
//
// Numbers are big endian. Names and access keys are the last part of their key, so need no terminator.
const room = 't'

func tenantKey(id TenantID) []byte       { return numbered('t', id, 0) }
func tenantNameKey(name string) []byte   { return append([]byte{room, 'n'}, name...) }
func credentialKey(access string) []byte { return append([]byte{room, 'c'}, access...) }
func sequenceKey() []byte                { return []byte{room, 's'} }

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
	v := d.rest[:n:n]
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) string() string  { return string(d.bytes()) }
func (d *decoder) time() time.Time { return time.Unix(int64(d.uint()), 0).UTC() }

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
	return *e
}

func decodeAccount(id TenantID, name string, raw []byte) (Account, error) {
	d := newDecoder(raw)
	a := Account{Tenant: id, Name: name}
	a.Root = d.bool()
	a.rootKey = d.string()
	a.generated = d.bool()
	a.Created = d.time()
	return a, d.end("account record")
}

func encodeCredential(k AccessKey, sealed []byte) []byte {
	e := newEncoder()
	e.uint(uint64(k.Tenant))
	e.string(k.Account)
	e.bool(k.Root)
	e.bool(k.Disabled)
	e.time(k.Created)
	e.bytes(sealed)
	return *e
}

func decodeCredential(access string, raw []byte) (AccessKey, []byte, error) {
	d := newDecoder(raw)
	k := AccessKey{ID: access, Tenant: TenantID(d.uint()), Account: d.string()}
	k.Root = d.bool()
	k.Disabled = d.bool()
	k.Created = d.time()
	sealed := d.bytes()
	return k, sealed, d.end("credential record")
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
