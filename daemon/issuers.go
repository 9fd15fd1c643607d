package daemon

import (
	"context"
	"fmt"
	"time"

	"k3fs/tenancy/oidc"
)

// useEvery is how often it is stored which access keys were used.
const useEvery = 10 * time.Minute

// openIssuers reads the file of trusted identity providers.
func (d *Daemon) openIssuers() error {
	if d.cfg.Issuers == "" {
		return nil
	}
	all, err := readIssuers(d.cfg.Issuers)
	if err == nil {
		d.issuers, err = oidc.New(all, oidc.Options{Directory: d.stores.tenancy, Logger: d.log})
	}
	if err != nil {
		return &ConfigError{fmt.Errorf("issuers: %w", err)}
	}
	for _, one := range all {
		d.log.Info("identity provider", "issuer", one.URL, "audience", one.Audiences, "tenant", one.Tenant, "tenant_claim", one.TenantClaim)
	}
	return nil
}

// bearer is how a door finds out for whom a JSON web token speaks; nil where no identity provider is trusted.
func (d *Daemon) bearer() func(context.Context, string) (oidc.Identity, error) {
	if d.issuers == nil {
		return nil
	}
	return d.issuers.Verify
}

// keepUses stores now and then which access keys were used, until ctx ends; what is left is stored when the stores close.
func (d *Daemon) keepUses(ctx context.Context) {
	for tick := time.NewTicker(useEvery); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		if err := d.stores.tenancy.StoreUsed(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("it could not be stored when access keys were last used", "err", err)
		}
	}
}
