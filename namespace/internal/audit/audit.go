// Package audit is the log of what was done about locks and holds: append-only, one chain for each tenant. It owns
// the form of records, their chain, and the proof that it is whole; what is recorded is the namespace's to say.
//
// A record is a line of JSON whose last member is the SHA-256 of the line before that member; the hash of the
// record before it is another member. So a record that is altered, removed, or moved breaks the chain for
// everybody who has the lines. What cuts the end off would not: the head, which names the last record, is
// kept beside, under a MAC of a key that the store doesn't hold.
package audit

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"k3fs/metastore"
)

// Event is what a record says.
type Event struct {
	Event     string    `json:"event"` // "hold.place", "retention.change", "refused", ...
	Time      time.Time `json:"time"`  // by the trusted clock
	Wall      time.Time `json:"wall"`  // by the host's
	Account   string    `json:"account,omitempty"`
	AccessKey string    `json:"access_key,omitempty"`
	Bucket    string    `json:"bucket,omitempty"`
	Key       string    `json:"key,omitempty"`
	Version   string    `json:"version,omitempty"`
	Hold      string    `json:"hold,omitempty"`
	Detail    string    `json:"detail,omitempty"`
	Count     int       `json:"count,omitempty"` // of refusals that were alike since the last record of them
}

// Record is an event in its place.
type Record struct {
	Tenant uint64 `json:"tenant"`
	Seq    uint64 `json:"seq"` // from 1
	Event
	Prev string `json:"prev"` // the hash of the record before; empty in the first
	Hash string `json:"hash,omitempty"`
}

// Head is the end of a log.
type Head struct {
	Tenant uint64 `json:"tenant"`
	Seq    uint64 `json:"head"` // of the last record; 0: there is none
	Hash   string `json:"hash"`
	By     uint64 `json:"by,omitempty"` // the tenant whose key the MAC's is; 0: the log's own
	Epoch  uint32 `json:"epoch"`        // of the key of the MAC
	MAC    string `json:"mac"`
}

// Log is a tenant's log in a store: the head is under Prefix, the records under Prefix and their number.
type Log struct {
	Prefix []byte
	Tenant uint64
	By     uint64 // the tenant whose key makes a new head's MAC; 0: the log's own
	Epoch  uint32 // of that key
	Key    func(by uint64, epoch uint32) ([]byte, error)
}

// ErrTampered is wrapped by every error that says that a log is not as it was written.
var ErrTampered = errors.New("the audit log was tampered with")

func tampered(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrTampered, fmt.Sprintf(format, args...))
}

func (l *Log) mac(h Head) (string, error) {
	k, err := l.Key(h.By, h.Epoch)
	if err != nil {
		return "", err
	}
	m := hmac.New(sha256.New, k)
	fmt.Fprintf(m, "k3fs audit head 1\n%d %d %s", h.Tenant, h.Seq, h.Hash)
	if h.By != 0 {
		fmt.Fprintf(m, " by %d", h.By)
	}
	return hex.EncodeToString(m.Sum(nil)), nil
}

func (l *Log) recordKey(seq uint64) []byte {
	return binary.BigEndian.AppendUint64(bytes.Clone(l.Prefix), seq)
}

// Head reads and authenticates the head.
func (l *Log) Head(r metastore.Reader) (Head, error) {
	raw, err := r.Get(l.Prefix)
	if errors.Is(err, metastore.ErrNotFound) {
		return Head{Tenant: l.Tenant}, l.none(r)
	}
	if err != nil {
		return Head{}, err
	}
	var h Head
	if err := json.Unmarshal(raw, &h); err != nil {
		return h, tampered("the head can't be read: %v", err)
	}
	mac, err := l.mac(h)
	if err != nil {
		return h, err
	}
	if h.Tenant != l.Tenant || !hmac.Equal([]byte(mac), []byte(h.MAC)) {
		return h, tampered("the head is not ours")
	}
	return h, nil
}

// none makes sure that a log without a head has no records either.
func (l *Log) none(r metastore.Reader) error {
	_, err := r.Get(l.recordKey(1))
	switch {
	case errors.Is(err, metastore.ErrNotFound):
		return nil
	case err == nil:
		return tampered("the head is gone")
	}
	return err
}

// Append adds a record, within the update that does what it says.
func (l *Log) Append(t metastore.Txn, e Event) error {
	h, err := l.Head(t)
	if err != nil {
		return err
	}
	line, hash, err := seal(Record{Tenant: l.Tenant, Seq: h.Seq + 1, Event: e, Prev: h.Hash})
	if err != nil {
		return err
	}
	if err := t.Set(l.recordKey(h.Seq+1), line); err != nil {
		return err
	}
	return l.putHead(t, Head{Tenant: l.Tenant, Seq: h.Seq + 1, Hash: hash})
}

// Renew makes the MAC of the head anew, with the key of now.
func (l *Log) Renew(t metastore.Txn) error {
	h, err := l.Head(t)
	if err != nil || h.Seq == 0 {
		return err
	}
	return l.putHead(t, h)
}

func (l *Log) putHead(t metastore.Txn, h Head) (err error) {
	h.By, h.Epoch = l.By, l.Epoch
	if h.MAC, err = l.mac(h); err != nil {
		return err
	}
	head, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return t.Set(l.Prefix, head)
}

// seal is the line of a record, and its hash.
func seal(r Record) (line []byte, hash string, err error) {
	r.Hash = ""
	if line, err = json.Marshal(r); err != nil {
		return nil, "", err
	}
	body := line[:len(line)-1] // without the brace
	sum := sha256.Sum256(body)
	hash = hex.EncodeToString(sum[:])
	return fmt.Appendf(body, `,"hash":"%s"}`, hash), hash, nil
}

const hashTail = len(`,"hash":""}`) + 2*sha256.Size

// open reads a line, and checks that it is the record that follows prev.
func open(line []byte, prev Record) (Record, error) {
	var r Record
	if len(line) <= hashTail || json.Unmarshal(line, &r) != nil {
		return r, tampered("the record after %d can't be read", prev.Seq)
	}
	sum := sha256.Sum256(line[:len(line)-hashTail])
	switch {
	case r.Hash != hex.EncodeToString(sum[:]) || string(line[len(line)-hashTail:]) != `,"hash":"`+r.Hash+`"}`:
		return r, tampered("record %d was altered", r.Seq)
	case prev.Seq != 0 && r.Tenant != prev.Tenant:
		return r, tampered("record %d is of another tenant", r.Seq)
	case r.Seq != prev.Seq+1:
		return r, tampered("record %d follows record %d", r.Seq, prev.Seq)
	case r.Prev != prev.Hash:
		return r, tampered("record %d does not follow the record before it", r.Seq)
	}
	return r, nil
}

// Records calls fn for the records after a number, each as it is stored, until fn returns false. It checks nothing.
func (l *Log) Records(r metastore.Reader, after uint64, page int, fn func(line []byte) bool) error {
	end := bytes.Clone(l.Prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			break
		}
	}
	return r.Scan(metastore.Range{From: l.recordKey(after + 1), To: end, Page: page}, func(_, value []byte) (bool, error) {
		return fn(bytes.Clone(value)), nil
	})
}

// Verify checks all of the log in the store, and returns its head.
func (l *Log) Verify(r metastore.Reader) (Head, error) {
	h, err := l.Head(r)
	if err != nil {
		return h, err
	}
	var last Record
	var bad error
	err = l.Records(r, 0, 256, func(line []byte) bool {
		var next Record
		if next, bad = open(line, last); bad == nil && next.Tenant != l.Tenant {
			bad = tampered("record %d is of another tenant", next.Seq)
		}
		last = next
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err == nil && (last.Seq != h.Seq || last.Hash != h.Hash) {
		err = tampered("the log ends at record %d, its head says %d", last.Seq, h.Seq)
	}
	return h, err
}

// Has reports whether the log's record of a number has the hash: that an export is a beginning of this log.
func (l *Log) Has(r metastore.Reader, seq uint64, hash string) (bool, error) {
	if seq == 0 {
		return hash == "", nil
	}
	raw, err := r.Get(l.recordKey(seq))
	if errors.Is(err, metastore.ErrNotFound) {
		return false, nil
	}
	var rec Record
	if err == nil {
		err = json.Unmarshal(raw, &rec)
	}
	return err == nil && rec.Hash == hash, err
}

// maxLine bounds a line of an export, in bytes.
const maxLine = 1 << 20

// VerifyExport checks an exported log: all records from the first, one on each line, and the head as the last line.
// It proves that they are as they were when they were exported if the head is the one that the daemon has.
func VerifyExport(in io.Reader) (Head, error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	var last Record
	for lines.Scan() {
		line := lines.Bytes()
		var h Head
		if json.Unmarshal(line, &h) == nil && h.MAC != "" {
			if lines.Scan() {
				return h, tampered("there are lines behind the head")
			}
			if h.Seq != last.Seq || h.Hash != last.Hash || last.Seq != 0 && h.Tenant != last.Tenant {
				return h, tampered("the log ends at record %d, its head says %d", last.Seq, h.Seq)
			}
			return h, lines.Err()
		}
		next, err := open(line, last)
		if err != nil {
			return h, err
		}
		last = next
	}
	if err := lines.Err(); err != nil {
		return Head{}, err
	}
	return Head{}, tampered("the head is missing: the end was cut off after record %d", last.Seq)
}
