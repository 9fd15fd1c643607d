package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/metastore"
	"k3fs/metastore/memkv"
)

// written is a store with a log of some records.
func written(t *testing.T) (*memkv.Store, *Log) {
	kv := memkv.New(memkv.Options{})
	l := &Log{Prefix: []byte("log"), Tenant: 7, Key: keyOf("key")}
	for i := range 5 {
		update(t, kv, func(txn metastore.Txn) error {
			return l.Append(txn, Event{Event: "hold.place", Time: time.Unix(int64(i), 0), Detail: "a\"b\n"})
		})
	}
	return kv, l
}

func keyOf(key string) func(uint64, uint32) ([]byte, error) {
	return func(uint64, uint32) ([]byte, error) { return []byte(key), nil }
}

func update(t *testing.T, kv metastore.Store, fn func(metastore.Txn) error) {
	require.NoError(t, kv.Update(context.Background(), metastore.Durable, fn))
}

func verify(kv metastore.Store, l *Log) (h Head, err error) {
	err = kv.View(context.Background(), func(r metastore.Reader) error {
		h, err = l.Verify(r)
		return err
	})
	return h, err
}

func lines(t *testing.T, kv metastore.Store, l *Log) (all [][]byte) {
	require.NoError(t, kv.View(context.Background(), func(r metastore.Reader) error {
		if err := l.Records(r, 0, 0, func(line []byte) bool { all = append(all, line); return true }); err != nil {
			return err
		}
		h, err := l.Head(r)
		if err != nil {
			return err
		}
		head, err := json.Marshal(h)
		all = append(all, head)
		return err
	}))
	return all
}

func TestUntouched(t *testing.T) {
	kv, l := written(t)
	h, err := verify(kv, l)
	require.NoError(t, err)
	require.EqualValues(t, 5, h.Seq)
	exported, err := VerifyExport(bytes.NewReader(bytes.Join(lines(t, kv, l), []byte("\n"))))
	require.NoError(t, err)
	require.Equal(t, h, exported)
	require.NoError(t, kv.View(context.Background(), func(r metastore.Reader) error {
		has, err := l.Has(r, h.Seq, h.Hash)
		require.True(t, has)
		return err
	}))
}

func TestNoRecords(t *testing.T) {
	h, err := verify(memkv.New(memkv.Options{}), &Log{Prefix: []byte("log"), Tenant: 7})
	require.NoError(t, err)
	require.Equal(t, Head{Tenant: 7}, h)
}

// What is done to the store is found out, whatever it is.
func TestTamperedStore(t *testing.T) {
	for name, do := range map[string]func(t *testing.T, txn metastore.Txn, l *Log) error{
		"a record removed":     func(_ *testing.T, txn metastore.Txn, l *Log) error { return txn.Delete(l.recordKey(3)) },
		"the first removed":    func(_ *testing.T, txn metastore.Txn, l *Log) error { return txn.Delete(l.recordKey(1)) },
		"the last removed":     func(_ *testing.T, txn metastore.Txn, l *Log) error { return txn.Delete(l.recordKey(5)) },
		"the head removed":     func(_ *testing.T, txn metastore.Txn, l *Log) error { return txn.Delete(l.Prefix) },
		"the head set back":    func(t *testing.T, txn metastore.Txn, l *Log) error { return setBack(t, txn, l, nil) },
		"the head forged":      func(t *testing.T, txn metastore.Txn, l *Log) error { return setBack(t, txn, l, []byte("guess")) },
		"a record altered":     func(t *testing.T, txn metastore.Txn, l *Log) error { return alter(txn, l, false) },
		"altered and rehashed": func(t *testing.T, txn metastore.Txn, l *Log) error { return alter(txn, l, true) },
		"two exchanged": func(t *testing.T, txn metastore.Txn, l *Log) error {
			a, err := txn.Get(l.recordKey(2))
			require.NoError(t, err)
			b, err := txn.Get(l.recordKey(3))
			require.NoError(t, err)
			require.NoError(t, txn.Set(l.recordKey(2), b))
			return txn.Set(l.recordKey(3), a)
		},
		"one added": func(t *testing.T, txn metastore.Txn, l *Log) error {
			line, _, err := seal(Record{Tenant: 7, Seq: 6})
			require.NoError(t, err)
			return txn.Set(l.recordKey(6), line)
		},
	} {
		t.Run(name, func(t *testing.T) {
			kv, l := written(t)
			update(t, kv, func(txn metastore.Txn) error { return do(t, txn, l) })
			_, err := verify(kv, l)
			require.ErrorIs(t, err, ErrTampered)
		})
	}
}

// setBack cuts the log off after its third record, with a head that says so.
func setBack(t *testing.T, txn metastore.Txn, l *Log, key []byte) error {
	raw, err := txn.Get(l.recordKey(3))
	require.NoError(t, err)
	var third Record
	require.NoError(t, json.Unmarshal(raw, &third))
	h := Head{Tenant: 7, Seq: 3, Hash: third.Hash}
	h.MAC, err = (&Log{Key: keyOf(string(key))}).mac(h)
	require.NoError(t, err)
	head, err := json.Marshal(h)
	require.NoError(t, err)
	require.NoError(t, txn.Delete(l.recordKey(4)))
	require.NoError(t, txn.Delete(l.recordKey(5)))
	return txn.Set(l.Prefix, head)
}

func alter(txn metastore.Txn, l *Log, rehash bool) error {
	raw, err := txn.Get(l.recordKey(2))
	if err != nil {
		return err
	}
	raw = bytes.Replace(raw, []byte("hold.place"), []byte("hold.plaze"), 1)
	if rehash {
		var r Record
		if err := json.Unmarshal(raw, &r); err != nil {
			return err
		}
		if raw, _, err = seal(r); err != nil {
			return err
		}
	}
	return txn.Set(l.recordKey(2), raw)
}

func TestTamperedExport(t *testing.T) {
	kv, l := written(t)
	all := lines(t, kv, l)
	for name, bad := range map[string][][]byte{
		"cut off":        all[:4],
		"head removed":   all[:5],
		"one removed":    slices.Concat(all[:2], all[3:]),
		"first removed":  all[1:],
		"last removed":   slices.Concat(all[:4], all[5:]),
		"exchanged":      {all[0], all[2], all[1], all[3], all[4], all[5]},
		"repeated":       {all[0], all[1], all[1], all[2], all[3], all[4], all[5]},
		"altered":        {all[0], bytes.Replace(all[1], []byte("place"), []byte("plaze"), 1), all[2], all[3], all[4], all[5]},
		"something else": {[]byte("{}")},
		"empty":          {},
		"behind":         append(slices.Clone(all), all[4]),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := VerifyExport(bytes.NewReader(bytes.Join(bad, []byte("\n"))))
			require.ErrorIs(t, err, ErrTampered)
		})
	}
}
