package tenancy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"k3fs/internal/wholefile"
)

// NodeKeys are the keys of a node that hold as long as its store: the metadata key, and those that seal tenants' keys
// and secrets. They are random, and kept in a file that a Lock seals: so the master key, or the key service that
// stands for it, can change without anything else. They never show themselves when they are printed.
type NodeKeys struct {
	id         string // names the node to a key service
	metadata   [keyBytes]byte
	decoy      [keyBytes]byte
	generation []generation // the newest last
}

// Lock seals the file of node keys: a master key does, and a key service.
type Lock interface {
	// Name tells the lock from others in the file.
	Name() string
	// Seal and Open are each other's reverse. Open of what another lock sealed is an error.
	Seal(ctx context.Context, plain []byte) ([]byte, error)
	Open(ctx context.Context, sealed []byte) ([]byte, error)
}

var _ Lock = (*Master)(nil)

// NewNodeKeys makes random keys for a new store.
func NewNodeKeys() *NodeKeys {
	k := &NodeKeys{}
	var id [16]byte
	rand.Read(id[:])
	rand.Read(k.metadata[:])
	rand.Read(k.decoy[:])
	k.id = hex.EncodeToString(id[:])
	return k.next()
}

// NodeKeys are those of a store without a file of them, all of whose keys come from the master key.
func (m *Master) NodeKeys() *NodeKeys {
	id := derive(m.key, labelNode)
	return &NodeKeys{
		id: hex.EncodeToString(id[:16]), metadata: derive(m.key, labelMetadata), decoy: derive(m.key, labelDecoy),
		generation: []generation{{0, m.key}},
	}
}

// next adds a generation.
func (k *NodeKeys) next() *NodeKeys {
	g := generation{id: 1}
	if n := len(k.generation); n > 0 {
		g.id = k.generation[n-1].id + 1
	}
	rand.Read(g.key[:])
	more := *k
	more.generation = append(append([]generation(nil), k.generation...), g)
	return &more
}

// newest drops all generations but the last.
func (k *NodeKeys) newest() *NodeKeys {
	less := *k
	less.generation = k.generation[len(k.generation)-1:]
	return &less
}

// ForCopy are the same keys with another metadata key, for a copy of the store: what two stores seal by one key could
// get one nonce.
func (k *NodeKeys) ForCopy() *NodeKeys {
	other := *k
	rand.Read(other.metadata[:])
	return &other
}

// MetadataKey is the key that seals metastore values and Badger's own files.
func (k *NodeKeys) MetadataKey() [32]byte { return k.metadata }

// String hides the keys.
func (k *NodeKeys) String() string { return "tenancy.NodeKeys(hidden)" }

// GoString hides the keys.
func (k *NodeKeys) GoString() string { return k.String() }

// Name tells the master key from others, by its hash.
func (m *Master) Name() string {
	sum := sha256.Sum256(m.lockKey())
	return "master " + hex.EncodeToString(sum[:8])
}

func (m *Master) lockKey() []byte {
	key := derive(m.key, labelLock)
	return key[:]
}

// Seal implements Lock.
func (m *Master) Seal(_ context.Context, plain []byte) ([]byte, error) {
	aead, err := newAEAD([keyBytes]byte(m.lockKey()))
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, plain, []byte(labelLock)), nil
}

// Open implements Lock.
func (m *Master) Open(_ context.Context, sealed []byte) ([]byte, error) {
	aead, err := newAEAD([keyBytes]byte(m.lockKey()))
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, sealed, []byte(labelLock))
	if err != nil {
		return nil, fmt.Errorf("%w: the node keys fail their authentication", ErrCorrupt)
	}
	return plain, nil
}

// nodeKeysFile is the form of the file. Every slot holds the same keys, under another lock.
type nodeKeysFile struct {
	Format int            `json:"format"`
	Slots  []nodeKeysSlot `json:"slots"`
}

type nodeKeysSlot struct {
	Lock   string `json:"lock"`
	Sealed []byte `json:"sealed"`
}

const nodeKeysFormat = 1

// nodeKeysPlain is what a slot seals.
type nodeKeysPlain struct {
	ID         string
	Metadata   []byte
	Decoy      []byte
	Generation []struct {
		ID  uint32
		Key []byte
	}
}

func (k *NodeKeys) encode() ([]byte, error) {
	p := nodeKeysPlain{ID: k.id, Metadata: k.metadata[:], Decoy: k.decoy[:]}
	for _, g := range k.generation {
		p.Generation = append(p.Generation, struct {
			ID  uint32
			Key []byte
		}{g.id, g.key[:]})
	}
	return json.Marshal(p)
}

func decodeNodeKeys(raw []byte) (*NodeKeys, error) {
	var p nodeKeysPlain
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("%w: node keys", ErrCorrupt)
	}
	k := &NodeKeys{id: p.ID}
	bad := copy(k.metadata[:], p.Metadata) != keyBytes || copy(k.decoy[:], p.Decoy) != keyBytes || len(p.Generation) == 0
	for _, g := range p.Generation {
		one := generation{id: g.ID}
		bad = bad || copy(one.key[:], g.Key) != keyBytes
		k.generation = append(k.generation, one)
	}
	if bad {
		return nil, fmt.Errorf("%w: node keys", ErrCorrupt)
	}
	return k, nil
}

// Save writes the keys to the file at path, and to a second one beside it, each whole or not at all, under every one of
// the locks. On return they are durable; any one of the locks opens them.
func (k *NodeKeys) Save(ctx context.Context, path string, locks ...Lock) error {
	plain, err := k.encode()
	if err != nil {
		return err
	}
	defer clear(plain)
	f := nodeKeysFile{Format: nodeKeysFormat}
	for _, l := range locks {
		sealed, err := l.Seal(ctx, plain)
		if err != nil {
			return fmt.Errorf("seal the node keys with %s: %w", l.Name(), err)
		}
		f.Slots = append(f.Slots, nodeKeysSlot{l.Name(), sealed})
	}
	text, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return err
	}
	for _, name := range []string{path, path + secondCopy} {
		if err := wholefile.Replace(name, append(text, '\n')); err != nil {
			return fmt.Errorf("save the node keys: %w", err)
		}
	}
	return nil
}

// secondCopy is behind the name of the second file: a disk that loses one block must not take everything.
const secondCopy = ".copy"

// LoadNodeKeys opens the file at path, or its copy, with the first of the locks that can. It returns fs.ErrNotExist if
// there is neither: the keys are then Master.NodeKeys. A key service that is away is its own error.
func LoadNodeKeys(ctx context.Context, path string, locks ...Lock) (*NodeKeys, error) {
	k, err := loadNodeKeys(ctx, path, locks)
	if err == nil {
		return k, nil
	}
	k, second := loadNodeKeys(ctx, path+secondCopy, locks)
	if second == nil {
		return k, nil
	}
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(second, fs.ErrNotExist) {
		err = second
	}
	return nil, fmt.Errorf("node keys: %w", err)
}

func loadNodeKeys(ctx context.Context, path string, locks []Lock) (*NodeKeys, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f nodeKeysFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("%w: %s is damaged", ErrCorrupt, path)
	}
	if f.Format != nodeKeysFormat {
		return nil, fmt.Errorf("%s has format %d, this program knows %d", path, f.Format, nodeKeysFormat)
	}
	for _, l := range locks {
		for _, s := range f.Slots {
			if s.Lock != l.Name() {
				continue
			}
			plain, err := l.Open(ctx, s.Sealed)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			defer clear(plain)
			return decodeNodeKeys(plain)
		}
	}
	var names []string
	for _, s := range f.Slots {
		names = append(names, s.Lock)
	}
	return nil, fmt.Errorf("%w: %s is sealed by %q: give that key, not another", ErrWrongKey, path, names)
}

// ErrWrongKey: the master key, or key service, given is not the one of the store.
var ErrWrongKey = errors.New("tenancy: wrong key")
