package badgerkv

import (
	"fmt"
	"time"

	"k3fs/metastore"
)

// Scrub checks every block of every table, as Open does. Badger takes a block that it can't read for one
// that lacks the key, so tables that rot while the store is open are found here and not by the reads:
// once damage is found, all reads fail with ErrCorrupt and the store stops.
func (s *Store) Scrub() error {
	v := s.acquire() // keeps Badger open
	if v == nil {
		return metastore.ErrClosed
	}
	defer v.base.release()
	err := s.verifyOpenTables()
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%w: scrub: %w: restore the store from a backup", metastore.ErrCorrupt, err)
	s.damage.Store(&err)
	s.stop(err)
	return err
}

// verifyOpenTables turns panics, Badger's way to report some kinds of damage, into errors.
func (s *Store) verifyOpenTables() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a table is damaged")
		}
	}()
	return s.db.VerifyChecksum()
}

// scrubber scrubs once in a while until the store closes.
func (s *Store) scrubber() {
	defer close(s.scrubbed)
	if s.opts.ScrubInterval < 0 {
		return
	}
	tick := time.NewTicker(s.opts.ScrubInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.quit:
			return
		case <-s.stopped:
			return
		case <-tick.C:
			if s.Scrub() != nil {
				return
			}
		}
	}
}
