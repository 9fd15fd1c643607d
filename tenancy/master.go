package tenancy

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"k3fs/internal/wholefile"
)

const (
	keyBytes    = 32
	sumBytes    = 8
	masterMagic = "k3fs-master-1 "
	// masterFileBytes: magic, key in hex, a space, checksum in hex, a newline.
	masterFileBytes = len(masterMagic) + 2*keyBytes + 1 + 2*sumBytes + 1
)

// Labels of the keys that are derived from the master key or from a tenant key. A label is never
// reused for another purpose.
const (
	labelMetadata = "k3fs/metadata"
	labelWrap     = "k3fs/wrap"
	labelSecret   = "k3fs/secret"
	labelDecoy    = "k3fs/decoy"
	labelData     = "k3fs/data"
	labelLock     = "k3fs/node keys"
	labelNode     = "k3fs/node"
)

// Master is the master key of a store. It is loaded before the metastore, which needs MetadataKey.
// It never shows its key when it is printed.
type Master struct {
	key [keyBytes]byte
}

// CreateMaster makes a random master key and keeps it in a new file at path, mode 0600. It returns
// once file and directory entry are on the disk. A file that is there already is never touched: the
// error then is fs.ErrExist. A crash leaves either no file or a whole one.
func CreateMaster(path string) (*Master, error) {
	m, err := NewMaster()
	if err != nil {
		return nil, err
	}
	if err := wholefile.Create(path, m.encode()); err != nil {
		return nil, fmt.Errorf("create master key: %w", err)
	}
	return m, nil
}

// NewMaster makes a random master key that is not kept anywhere yet.
func NewMaster() (*Master, error) {
	m := new(Master)
	if _, err := rand.Read(m.key[:]); err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return m, nil
}

// Replace puts the key in place of what is in the file at path, whole or not at all, durably.
func (m *Master) Replace(path string) error {
	if err := wholefile.Replace(path, m.encode()); err != nil {
		return fmt.Errorf("replace master key: %w", err)
	}
	return nil
}

// ParseMaster reads a master key from the text of its file, which may lack the newline at its end.
func ParseMaster(text []byte) (*Master, error) {
	m, err := decodeMaster(append(bytes.TrimRight(text, "\r\n"), '\n'))
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return m, nil
}

// IsMaster reports whether a text looks like that of a master key's file.
func IsMaster(text string) bool {
	return len(text) >= len(masterMagic) && text[:len(masterMagic)] == masterMagic
}

// LoadMaster reads the master key at path. It refuses a file that others than its owner could read or
// write, that belongs to another user, or whose content is not a whole master key. A missing file is
// fs.ErrNotExist.
func LoadMaster(path string) (*Master, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open master key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	if err := checkPrivate(path, info); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, int64(masterFileBytes)+1))
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	m, err := decodeMaster(raw)
	if err != nil {
		return nil, fmt.Errorf("master key %s: %w", path, err)
	}
	return m, nil
}

func checkPrivate(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("master key %s is not a regular file", path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("master key %s has mode %04o, so others may have read it: run 'chmod 600 %s' if you trust that nobody did", path, perm, path)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() && st.Uid != 0 {
		return fmt.Errorf("master key %s belongs to user %d, not to the user %d who runs k3fs", path, st.Uid, os.Geteuid())
	}
	return nil
}

func (m *Master) encode() []byte {
	sum := m.checksum()
	return fmt.Appendf(nil, "%s%x %x\n", masterMagic, m.key, sum)
}

func (m *Master) checksum() [sumBytes]byte {
	h := sha256.Sum256(append([]byte(masterMagic), m.key[:]...))
	return [sumBytes]byte(h[:sumBytes])
}

func decodeMaster(raw []byte) (*Master, error) {
	if len(raw) != masterFileBytes {
		return nil, fmt.Errorf("%w: %d bytes long instead of %d", ErrCorrupt, len(raw), masterFileBytes)
	}
	rest, ok := bytes.CutPrefix(raw, []byte(masterMagic))
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrCorrupt, masterMagic)
	}
	m := new(Master)
	if _, err := hex.Decode(m.key[:], rest[:2*keyBytes]); err != nil {
		return nil, fmt.Errorf("%w: the key is not hexadecimal", ErrCorrupt)
	}
	want := m.checksum()
	if string(rest[2*keyBytes:]) != fmt.Sprintf(" %x\n", want) {
		return nil, fmt.Errorf("%w: the checksum does not match", ErrCorrupt)
	}
	if subtle.ConstantTimeCompare(m.key[:], make([]byte, keyBytes)) == 1 {
		return nil, fmt.Errorf("%w: the key is zero", ErrCorrupt)
	}
	return m, nil
}

// MetadataKey is that of NodeKeys.
func (m *Master) MetadataKey() [32]byte { return derive(m.key, labelMetadata) }

// String hides the key.
func (m *Master) String() string { return "tenancy.Master(hidden)" }

// GoString hides the key.
func (m *Master) GoString() string { return m.String() }

// derive returns the key for label under key, by HKDF-SHA-256 (RFC 5869) without a salt: key is
// uniformly random.
func derive(key [keyBytes]byte, label string) [keyBytes]byte {
	out, err := hkdf.Key(sha256.New, key[:], nil, label, keyBytes)
	if err != nil {
		panic("tenancy: hkdf: " + err.Error()) // only for lengths that no constant here has
	}
	return [keyBytes]byte(out)
}
