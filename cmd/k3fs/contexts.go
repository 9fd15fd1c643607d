package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k3fs/daemon/adminapi/adminclient"
	"k3fs/internal/wholefile"
)

// loginContext is a store that somebody has logged in to.
type loginContext struct {
	Name      string `json:"name"`
	Admin     string `json:"admin"`        // URL of the admin listener, or unix:PATH
	S3        string `json:"s3,omitempty"` // URL of the S3 endpoint
	CA        string `json:"ca,omitempty"` // file of who signs the certificates of both
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`

	ClientCert string `json:"client_cert,omitempty"` // files, for a store that asks for them
	ClientKey  string `json:"client_key,omitempty"`
}

// logins is the file of all of them, which nobody else may read.
type logins struct {
	Current  string         `json:"current,omitempty"`
	Contexts []loginContext `json:"contexts"`
}

func loginsFile(getenv func(string) string) string {
	if name := getenv("K3FS_CONFIG"); name != "" {
		return name
	}
	dir := getenv("XDG_CONFIG_HOME")
	if dir == "" {
		dir = filepath.Join(getenv("HOME"), ".config")
	}
	return filepath.Join(dir, "k3fs", "config")
}

func readLogins(getenv func(string) string) (*logins, error) {
	name, all := loginsFile(getenv), &logins{}
	raw, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm()&0o077 != 0 {
		return nil, errors.Join(err, fmt.Errorf("%s holds secrets and others can read it: chmod 600 it", name))
	}
	if err := json.Unmarshal(raw, all); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return all, nil
}

// save writes the file, whole or not at all.
func (l *logins) save(getenv func(string) string) error {
	name := loginsFile(getenv)
	raw, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return wholefile.Replace(name, append(raw, '\n'))
}

func (l *logins) find(name string) *loginContext {
	i := slices.IndexFunc(l.Contexts, func(c loginContext) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &l.Contexts[i]
}

// contextNamed is the context of that name, else of $K3FS_CONTEXT, else the current one; nil if there is none.
func contextNamed(name string, getenv func(string) string) (*loginContext, error) {
	all, err := readLogins(getenv)
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = getenv("K3FS_CONTEXT")
	}
	if name == "" && all.Current == "" {
		return nil, nil
	}
	if name == "" {
		name = all.Current
	}
	if c := all.find(name); c != nil {
		return c, nil
	}
	return nil, usageError{fmt.Errorf("there is no context %q: see 'k3fs context list', or log in with 'k3fs login'", name)}
}

// target is where the context's API is, and as whom to ask.
func (c *loginContext) target() adminclient.Target {
	t := adminclient.Target{Endpoint: c.Admin, CA: c.CA, ClientCert: c.ClientCert, ClientKey: c.ClientKey, AccessKey: c.AccessKey, SecretKey: c.SecretKey}
	if socket, ok := strings.CutPrefix(c.Admin, "unix:"); ok {
		t.Socket, t.Endpoint = socket, ""
	}
	return t
}
