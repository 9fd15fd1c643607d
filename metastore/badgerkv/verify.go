package badgerkv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/dgraph-io/ristretto/v2/z"

	"github.com/dgraph-io/badger/v4/fb"

	"k3fs/metastore"
)

// verifyTables checks every block of every table that the manifest lists. Badger itself leaves a table
// out when its checksum is wrong, answers "not found" for a block that it can't read, and ends the
// process on a damaged footer: so damage must be found before it opens the tables.
func verifyTables(dir string, o badger.Options) error {
	manifest, err := readManifest(dir, o)
	if err != nil {
		return fmt.Errorf("%w: reading the manifest: %w", metastore.ErrCorrupt, err)
	}
	if len(manifest.Tables) == 0 {
		return nil
	}
	registry, err := badger.OpenKeyRegistry(badger.KeyRegistryOptions{
		Dir: dir, ReadOnly: true, EncryptionKey: o.EncryptionKey,
	})
	if err != nil {
		return fmt.Errorf("%w: reading the key registry: %w", metastore.ErrCorrupt, err)
	}
	indexes, err := ristretto.NewCache(&ristretto.Config[uint64, *fb.TableIndex]{
		NumCounters: 1000, MaxCost: o.IndexCacheSize, BufferItems: 64,
	})
	if err != nil {
		return err
	}
	defer indexes.Close()
	for id, t := range manifest.Tables {
		dataKey, err := registry.DataKey(t.KeyID)
		if err != nil {
			return fmt.Errorf("%w: the key of table %d: %w", metastore.ErrCorrupt, id, err)
		}
		path := table.NewFilename(id, dir)
		err = verifyTable(path, table.Options{
			BlockSize: o.BlockSize, Compression: t.Compression, DataKey: dataKey,
			ChkMode: options.OnBlockRead, IndexCache: indexes,
		})
		if err != nil {
			return fmt.Errorf("%w: table %s: %w: restore the store from a backup",
				metastore.ErrCorrupt, filepath.Base(path), err)
		}
	}
	return nil
}

func readManifest(dir string, o badger.Options) (badger.Manifest, error) {
	file, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return badger.Manifest{}, err
	}
	defer file.Close()
	manifest, _, err := badger.ReplayManifestFile(file, 0, o)
	return manifest, err
}

// verifyTable checks one table. A panic is Badger's way to report some kinds of damage.
func verifyTable(path string, o table.Options) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("is damaged")
		}
	}()
	if err := verifyFooter(path); err != nil {
		return err
	}
	file, err := z.OpenMmapFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close(-1)
	t, err := table.OpenTable(file, o)
	if err != nil {
		return err
	}
	return t.VerifyChecksum()
}

// verifyFooter checks the two lengths at the end of a table, on which Badger ends the process:
// blocks | index | index length | checksum | checksum length.
func verifyFooter(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	rest := info.Size()
	for _, part := range []string{"checksum", "index"} {
		var buf [4]byte
		if rest -= 4; rest < 0 {
			return errors.New("is cut short")
		}
		if _, err := file.ReadAt(buf[:], rest); err != nil {
			return err
		}
		if rest -= int64(binary.BigEndian.Uint32(buf[:])); rest < 0 {
			return fmt.Errorf("the length of its %s is wrong", part)
		}
	}
	return nil
}
