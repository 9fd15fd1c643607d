package badgerkv

import (
	"encoding/binary"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"k3fs/metastore"
)

// Each batch carries a mark, a key of its number. Badger drops the rest of a write-ahead log silently
// when it meets a flaw in it, and then goes on with the next log: the marks show such a gap. They are
// kept as long as their batch could be in a log only, and a little longer.
type marks struct {
	keep  int64 // estimated memtable bytes for which marks are kept
	bytes int64 // of all marks in list
	list  []mark
}

type mark struct {
	batch uint64
	bytes int64
}

// nodeBytes is what an entry takes in a memtable beside its key and value, at least.
const nodeBytes = 64

// marksPerBatch bounds how many old marks one batch removes.
const marksPerBatch = 8

func markKey(batch uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kindMark}, batch)
}

// add puts the mark of a batch into its transaction, and removes old ones.
func (m *marks) add(txn *badger.Txn, s *sealer, ts uint64, b *batch) error {
	size := int64(b.bytes) + int64(b.entries.Len()+2)*nodeBytes
	m.list = append(m.list, mark{batch: ts, bytes: size})
	m.bytes += size
	removed := 0
	for ; removed < marksPerBatch && m.bytes-m.list[removed].bytes > m.keep; removed++ {
		m.bytes -= m.list[removed].bytes
		if err := txn.Delete(markKey(m.list[removed].batch)); err != nil {
			return err
		}
	}
	m.list = m.list[removed:]
	key := markKey(ts)
	value := binary.BigEndian.AppendUint32(nil, uint32(b.entries.Len()))
	value = binary.BigEndian.AppendUint64(value, m.list[0].batch)
	return txn.Set(key, s.seal(nil, value, additional(key[:len(key):len(key)], ts)))
}

// loadMarks reads the marks, and checks that none is missing of those that the last one says are kept.
func loadMarks(txn *badger.Txn, s *sealer, last uint64, keep int64) (*marks, error) {
	m := &marks{keep: keep}
	if last == 0 {
		return m, nil
	}
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{kindMark}})
	defer it.Close()
	oldest := uint64(0)
	for it.Rewind(); it.Valid(); it.Next() {
		batch := it.Item().Version()
		var entries uint32
		var err error
		if entries, oldest, err = readMark(it.Item(), s); err != nil {
			return nil, err
		}
		if n := len(m.list); n > 0 && m.list[n-1].batch+1 != batch {
			return nil, fmt.Errorf("%w: batches %d to %d are missing", metastore.ErrCorrupt, m.list[n-1].batch+1, batch-1)
		}
		size := int64(entries+2) * nodeBytes
		m.list = append(m.list, mark{batch: batch, bytes: size})
		m.bytes += size
	}
	n := len(m.list)
	if n == 0 || m.list[n-1].batch != last || m.list[0].batch != oldest {
		return nil, fmt.Errorf("%w: the store ends with batch %d, but has not the marks of the batches that led to it",
			metastore.ErrCorrupt, last)
	}
	return m, nil
}

// readMark checks a mark and returns how many entries its batch had, and the oldest mark kept then.
func readMark(item *badger.Item, s *sealer) (entries uint32, oldest uint64, err error) {
	key := item.KeyCopy(nil)
	err = item.Value(func(sealed []byte) error {
		value, err := s.open(nil, sealed, additional(key[:len(key):len(key)], item.Version()))
		if err != nil {
			return err
		}
		if len(value) != 12 || len(key) != 9 || binary.BigEndian.Uint64(key[1:]) != item.Version() {
			return fmt.Errorf("%w: the mark of batch %d is malformed", metastore.ErrCorrupt, item.Version())
		}
		entries, oldest = binary.BigEndian.Uint32(value), binary.BigEndian.Uint64(value[4:])
		return nil
	})
	if err != nil {
		return 0, 0, readError(err)
	}
	return entries, oldest, nil
}
