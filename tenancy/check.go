package tenancy

import (
	"context"
	"fmt"

	"k3fs/metastore"
)

// Check opens everything that the node's keys seal (tenants' keys, secrets, signing keys) and calls problem for what
// does not open with those that are left. It asks no key service and changes nothing.
func (t *Tenancy) Check(ctx context.Context, problem func(error)) error {
	// To one with a further generation everything is sealed by an older one, so it opens everything.
	probe := &Tenancy{ring: &ring{}}
	probe.ring.all.Store(&t.nodeKeys().next().generation)
	probe.wrap, probe.secrets = sealer{t.wrap.label, probe.ring}, sealer{t.secrets.label, probe.ring}
	return t.kv.View(ctx, func(r metastore.Reader) error {
		for _, table := range sealedTables {
			err := r.Scan(metastore.Range{From: table.prefix, To: prefixEnd(table.prefix), Page: renewBatch}, func(k, raw []byte) (bool, error) {
				if _, err := table.renew(probe, k[len(table.prefix):], raw); err != nil {
					problem(fmt.Errorf("a record of table %q: %w", table.prefix, err))
				}
				return true, ctx.Err()
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}
