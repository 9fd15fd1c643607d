package namespace

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/tenancy"
)

// A tenant locks for no longer than the node's operator set for it, nor than the node's configuration: the stricter.
func TestRetentionCap(t *testing.T) {
	const day = 24 * time.Hour
	clock := &hostClock{wall: time.Now()}
	o := clock.options()
	o.MaxRetention = func(tenancy.TenantID) time.Duration { return 100 * day }
	w := newWorldWith(t, o)
	w.versioning(t, "bucket", VersioningEnabled)
	require.NoError(t, w.ChangeLockConfig(bg, "bucket", LockConfig{}))
	ino := w.file(t, w.bucket, "f", "x")
	until := func(d time.Duration) time.Time { return clock.wall.Add(d).Truncate(time.Second) }
	ways := map[string]func(d time.Duration) error{
		"retention": func(d time.Duration) error {
			_, err := w.SetRetention(bg, "bucket", "f", "", Retention{Governance, until(d)}, true)
			return err
		},
		"attribute": func(d time.Duration) error {
			return w.SetXattr(bg, ino, s3Retention, []byte("GOVERNANCE "+until(d).UTC().Format(time.RFC3339)), 0)
		},
		"put": func(d time.Duration) error {
			_, err := w.PutObject(bg, "bucket", "p", bodyOf([]byte("x")), PutOptions{Lock: &ObjectLock{Retention: Retention{Governance, until(d)}}})
			return err
		},
		"upload": func(d time.Duration) error {
			_, err := w.CreateUpload(bg, "bucket", "u", Upload{Lock: &ObjectLock{Retention: Retention{Governance, until(d)}}})
			return err
		},
		"default": func(d time.Duration) error {
			return w.ChangeLockConfig(bg, "bucket", LockConfig{Mode: Governance, Days: int(d / day)})
		},
		"hold's end": func(d time.Duration) error {
			_, err := w.PlaceHold(bg, Hold{Bucket: "bucket", Prefix: "none", Reason: "x", Until: until(d)})
			return err
		},
		"hold's period": func(d time.Duration) error {
			_, err := w.PlaceHold(bg, Hold{Bucket: "bucket", Prefix: "none", Reason: "x", Period: d})
			return err
		},
	}
	within := func(most time.Duration) {
		t.Helper()
		c, err := w.RetentionCap(bg, tenancy.FirstTenant)
		require.NoError(t, err)
		require.Equal(t, most, c.Most())
		for what, lock := range ways {
			require.True(t, isKind(lock(most+day), Invalid), what)
			if what != "attribute" { // it can't bypass what "retention" placed
				require.NoError(t, lock(most-day), what)
			}
		}
	}
	within(100 * day)
	require.NoError(t, w.SetRetentionCap(bg, tenancy.FirstTenant, 10*day))
	within(10 * day)
	require.NoError(t, w.SetRetentionCap(bg, tenancy.FirstTenant, 200*day))
	within(100 * day)
	require.NoError(t, w.SetRetentionCap(bg, 7, 1*day))
	within(100 * day)
	require.NoError(t, w.SetRetentionCap(bg, tenancy.FirstTenant, 0))
	within(100 * day)
	requireKind(t, Invalid, w.SetRetentionCap(bg, 7, -1))

	plain := w.fs.As(tenancy.Principal{Tenant: tenancy.FirstTenant, Account: "plain"})
	stranger := w.fs.As(tenancy.Principal{Tenant: 7, Account: tenancy.RootAccount, Root: true})
	requireKind(t, Access, plain.SetRetentionCap(bg, tenancy.FirstTenant, day))
	requireKind(t, Access, stranger.SetRetentionCap(bg, 7, 0))
	_, err := stranger.RetentionCap(bg, tenancy.FirstTenant)
	requireKind(t, Access, err)
	c, err := stranger.RetentionCap(bg, 7)
	require.NoError(t, err)
	require.Equal(t, RetentionCap{Tenant: day, Node: 100 * day}, c)
}
