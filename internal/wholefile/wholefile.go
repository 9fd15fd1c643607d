// Package wholefile writes small files that are there whole or not at all, whatever happens meanwhile, and that only
// their owner can read (mode 0600). What it has written is durable when it returns.
package wholefile

import (
	"errors"
	"os"
	"path/filepath"
)

// Replace puts data in place of the file at path, or makes it.
func Replace(path string, data []byte) error {
	return write(path, data, os.Rename)
}

// Create puts data into a new file at path. One that is there already is never touched: fs.ErrExist.
func Create(path string, data []byte) error {
	return write(path, data, os.Link) // which fails if path exists, as O_EXCL does
}

// write writes a file beside path and gives it that name.
func write(path string, data []byte, name func(from, to string) error) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".new-*") // mode 0600, O_EXCL
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // a link's other name, or what is left when it fails half-way
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := name(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
