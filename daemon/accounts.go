package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"

	"k3fs/tenancy"
)

// account is one [[account]] of the accounts file.
type account struct {
	Tenant    string   `koanf:"tenant"`
	Name      string   `koanf:"name"`
	AccessKey string   `koanf:"access_key"`
	SecretKey string   `koanf:"secret_key"`
	Email     string   `koanf:"email"`
	Role      string   `koanf:"role"`     // of an account that is not the tenant's root
	Policies  []string `koanf:"policies"` // names of policies to attach

	KMSKeys []string `koanf:"kms_keys"` // further ids of the tenant's key, for SSE-KMS
}

// namedPolicy is one [[policy]] of the accounts file.
type namedPolicy struct {
	Tenant   string `koanf:"tenant"`
	Name     string `koanf:"name"`
	Document string `koanf:"document"` // JSON
}

type accountsFile struct {
	Policies []namedPolicy `koanf:"policy"`
	Accounts []account     `koanf:"account"`
}

// ensureAccounts makes the tenants, accounts and access keys that the accounts file lists. What the file no
// longer lists stays. A file that others may read is refused, since it holds secrets.
func (s *stores) ensureAccounts(ctx context.Context, cfg Config, log *slog.Logger) error {
	if cfg.Accounts == "" {
		return nil
	}
	doc, err := readAccounts(cfg.Accounts)
	if err != nil {
		return &ConfigError{fmt.Errorf("accounts: %w", err)}
	}
	for _, p := range doc.Policies {
		if err := s.tenancy.EnsurePolicy(ctx, p.Tenant, p.Name, []byte(p.Document)); err != nil {
			return &ConfigError{fmt.Errorf("accounts: %s: policy %s: %w", cfg.Accounts, p.Name, err)}
		}
	}
	all := doc.Accounts
	for i, a := range all {
		err := s.tenancy.EnsureAccount(ctx, tenancy.Given{
			Tenant: a.Tenant, Account: a.Name, AccessKey: a.AccessKey, Secret: a.SecretKey, Email: a.Email,
			Role: tenancy.Role(a.Role), Policies: a.Policies,
		})
		switch {
		case errors.Is(err, tenancy.ErrInvalid), errors.Is(err, tenancy.ErrExists), errors.Is(err, tenancy.ErrNoPolicy):
			return &ConfigError{fmt.Errorf("accounts: %s: account %d: %w", cfg.Accounts, i+1, err)}
		case err != nil:
			return err
		}
	}
	for _, a := range all {
		if t, err := s.tenancy.FindTenant(ctx, a.Tenant); err == nil {
			for _, id := range a.KMSKeys {
				if err := s.tenancy.EnsureKMSKey(ctx, t.ID, id); err != nil {
					return &ConfigError{fmt.Errorf("accounts: %s: kms_keys: %w", cfg.Accounts, err)}
				}
			}
			log.Info("account", "tenant", t.Name, "name", a.Name, "access_key", a.AccessKey, "account_id", t.ID.AccountID(), "user_id", t.ID.Canonical())
		}
	}
	return nil
}

func readAccounts(name string) (doc accountsFile, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return doc, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return doc, fmt.Errorf("%s holds secrets and others can read it: chmod 600 it", name)
	}
	if err := readTables(name, &doc); err != nil {
		return doc, err
	}
	if len(doc.Accounts) == 0 {
		return doc, fmt.Errorf("%s has no [[account]]", name)
	}
	return doc, nil
}

// readTables reads a TOML file, in which no name may be that isn't known: a misspelled one is not to go unnoticed.
func readTables(name string, into any) error {
	k := koanf.New(".")
	if err := k.Load(file.Provider(name), toml.Parser()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	err := k.UnmarshalWithConf("", into, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		Result: into, TagName: "koanf", ErrorUnused: true,
		DecodeHook: mapstructure.StringToTimeDurationHookFunc(),
	}})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
