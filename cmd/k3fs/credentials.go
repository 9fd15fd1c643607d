package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"k3fs/daemon/control"
)

// The names of the two in files and in the environment.
var credentialNames = [][2]string{
	{"K3FS_ACCESS_KEY", "K3FS_SECRET_KEY"},
	{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
}

// credentials finds the access key and the secret key of a caller. Both are empty if there are none, and so root
// mounts as the host's administrator. No error tells a secret.
func credentials(l control.Local, getenv func(string) string, uid int) (accessKey, secret string, err error) {
	switch {
	case l.AccessKey != "" && l.SecretKey != "":
		return l.AccessKey, l.SecretKey, nil
	case l.AccessKey != "" || l.SecretKey != "":
		return "", "", errors.New("give both options access_key and secret_key, or better credentials=FILE, which others can't see")
	case l.Credentials != "":
		return readCredentials(l.Credentials)
	}
	for _, names := range credentialNames {
		accessKey, secret := getenv(names[0]), getenv(names[1])
		if accessKey != "" && secret != "" {
			return accessKey, secret, nil
		}
		if accessKey != "" || secret != "" {
			return "", "", fmt.Errorf("only one of %s and %s is set", names[0], names[1])
		}
	}
	file := "/etc/k3fs/credentials"
	if uid != 0 {
		dir := getenv("XDG_CONFIG_HOME")
		if dir == "" {
			dir = filepath.Join(getenv("HOME"), ".config")
		}
		file = filepath.Join(dir, "k3fs", "credentials")
	}
	accessKey, secret, err = readCredentials(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return accessKey, secret, err
	}
	if uid == 0 { // who needs none, and may have logged in to another host's store
		return "", "", nil
	}
	c, err := contextNamed("", getenv)
	if c == nil {
		return "", "", err
	}
	return c.AccessKey, c.SecretKey, nil
}

// readCredentials reads NAME=VALUE lines from a file that nobody else may read.
func readCredentials(name string) (accessKey, secret string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", "", fmt.Errorf("%s can be read by others: chmod 600 it", name)
	}
	values := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(lines.Text()), "export "), "=")
		if ok && !strings.HasPrefix(key, "#") {
			values[strings.TrimSpace(key)] = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	for _, names := range credentialNames {
		if values[names[0]] != "" && values[names[1]] != "" {
			return values[names[0]], values[names[1]], nil
		}
	}
	return "", "", fmt.Errorf("%s holds no AWS_ACCESS_KEY_ID=... and AWS_SECRET_ACCESS_KEY=... lines", name)
}
