package daemon

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"k3fs/tenancy/oidc"
)

// Setting is a value of the configuration that isn't the default.
type Setting struct {
	Key   string
	Value string // of a secret only that it is set
	From  string // the file, environment variable or command line that said it last
}

// Explain reads the configuration as Load does, and the files that it names as Run does, without opening the data
// directory or changing anything. It returns what is set, by key, also beside an error, which is a *ConfigError.
func Explain(src Sources) ([]Setting, error) {
	cfg, k, err := load(src)
	var all []Setting
	for _, key := range slices.Sorted(maps.Keys(k.from)) {
		all = append(all, Setting{key, shownSetting(key, k.Get(key)), k.from[key]})
	}
	if cfg.master != nil {
		all = append(all, Setting{"master_key", "(set)", "environment variable K3FS_MASTER_KEY"})
	}
	if cfg.oldMaster != nil {
		all = append(all, Setting{"old_master_key", "(set)", "environment variable K3FS_OLD_MASTER_KEY"})
	}
	if err != nil {
		return all, err
	}
	if err := cfg.checkFiles(); err != nil {
		return all, &ConfigError{err}
	}
	return all, nil
}

func shownSetting(key string, value any) string {
	if slices.ContainsFunc(secretSources, func(s struct{ key, env, credential string }) bool { return s.key == key }) {
		return "(set)"
	}
	return fmt.Sprint(value)
}

// checkFiles reads the files that a start reads.
func (c *Config) checkFiles() (err error) {
	if _, e := c.loadMaster(); e != nil {
		made := !exists(filepath.Join(c.Data, metaDir)) && !exists(filepath.Join(c.Data, nodeKeysFile)) // at the first start
		if missing := errors.Is(e, fs.ErrNotExist); !missing || c.KeyService.Kind == "" && !made {
			err = errors.Join(err, fmt.Errorf("master_key: %w", e))
		}
	}
	if _, e := c.loadOldMaster(); e != nil {
		err = errors.Join(err, fmt.Errorf("old_master_key: %w", e))
	}
	if c.Accounts != "" {
		if _, e := readAccounts(c.Accounts); e != nil {
			err = errors.Join(err, fmt.Errorf("accounts: %w", e))
		}
	}
	if c.Issuers != "" {
		if _, e := readIssuers(c.Issuers); e != nil {
			err = errors.Join(err, fmt.Errorf("issuers: %w", e))
		}
	}
	for section, files := range map[string][2]string{"s3": {c.S3.TLSCert, c.S3.TLSKey}, "admin": {c.Admin.TLSCert, c.Admin.TLSKey}} {
		if files[0] == "" {
			continue
		}
		if _, e := tls.LoadX509KeyPair(files[0], files[1]); e != nil {
			err = errors.Join(err, fmt.Errorf("%s.tls_cert: %w", section, e))
		}
	}
	return err
}

// readIssuers reads the file of trusted identity providers.
func readIssuers(name string) ([]oidc.Issuer, error) {
	var doc struct {
		Issuers []oidc.Issuer `koanf:"issuer"`
	}
	err := readTables(name, &doc)
	if err == nil && len(doc.Issuers) == 0 {
		err = fmt.Errorf("%s has no [[issuer]]", name)
	}
	return doc.Issuers, err
}
