package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize"

	"k3fs/chunkstore"
	"k3fs/metastore"
	"k3fs/tenancy"
)

// Report is what Fsck found.
type Report struct {
	Data     string   `json:"data"`
	Records  int64    `json:"records"` // of metadata, each authenticated
	Inodes   int64    `json:"inodes"`
	Extents  int64    `json:"extents"`
	Bytes    int64    `json:"bytes"`      // of data that extents hold
	Segments int      `json:"segments"`   // of data
	OnDisk   int64    `json:"disk_bytes"` // allocated by the segments
	Problems []string `json:"problems"`   // each an inconsistency; none means clean
}

// Summary is the report in one line.
func (r Report) Summary() string {
	verdict := "clean"
	if n := len(r.Problems); n == 1 {
		verdict = "1 problem"
	} else if n > 1 {
		verdict = fmt.Sprintf("%d problems", n)
	}
	return fmt.Sprintf("%s: %s (%d records, %d inodes, %s of data in %d segments)",
		r.Data, verdict, r.Records, r.Inodes, humanize.IBytes(uint64(r.Bytes)), r.Segments)
}

// Fsck checks the data directory of cfg, which no daemon may use meanwhile: every record of the metadata,
// and that metadata and data agree; with deep also every byte of data. It changes nothing in the data
// directory, which may be on a read-only mount: where a daemon was killed, it replays the metadata's log
// in a copy. What is wrong is in the report; the error says why the check could not be done.
func Fsck(ctx context.Context, cfg Config, deep bool, log *slog.Logger) (r Report, err error) {
	r = Report{Data: cfg.Data, Problems: []string{}}
	needs := []string{filepath.Join(cfg.Data, metaDir)}
	if cfg.master == nil && cfg.KeyService.Kind == "" {
		needs = append(needs, cfg.MasterKey)
	}
	for _, need := range needs {
		if _, err := os.Stat(need); err != nil {
			return r, fmt.Errorf("%s is no data directory of k3fs: %w", cfg.Data, err)
		}
	}
	limitMemory(cfg.Limits.Memory, log)
	s, err := openStoresReadOnly(ctx, cfg, log)
	if corrupt(err) {
		r.Problems = append(r.Problems, err.Error())
		return r, nil
	}
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := r.countRecords(ctx, s.kv); err != nil {
		return r, err
	}
	err = s.tenancy.Check(ctx, func(problem error) { r.Problems = append(r.Problems, "key: "+problem.Error()) })
	if err != nil && !corrupt(err) { // what is corrupt was counted
		return r, err
	}
	infos, err := s.chunks.Segments(ctx)
	if err != nil {
		return r, err
	}
	r.Segments = len(infos)
	for _, info := range infos {
		r.OnDisk += info.Allocated
	}
	return r, r.checkNamespace(ctx, s, deep)
}

// countRecords reads every record, which authenticates it.
func (r *Report) countRecords(ctx context.Context, kv metastore.Store) error {
	err := kv.View(ctx, func(t metastore.Reader) error {
		r.Records = 0
		return t.Scan(metastore.Range{}, func(_, _ []byte) (bool, error) {
			r.Records++
			return true, ctx.Err()
		})
	})
	if corrupt(err) {
		r.Problems = append(r.Problems, fmt.Sprintf("after %d records: %v", r.Records, err))
		return nil
	}
	return err
}

// corrupt reports whether err tells of damage, not of a check that could not be done.
func corrupt(err error) bool {
	return errors.Is(err, metastore.ErrCorrupt) || errors.Is(err, chunkstore.ErrCorrupt) ||
		errors.Is(err, tenancy.ErrCorrupt) && !errors.Is(err, fs.ErrNotExist)
}
