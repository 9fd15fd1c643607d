package tenancy

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/metastore"
)

// staff is a tenant with an account of each role, and who acts as it.
type staff struct {
	*world
	tenant Tenant
	root   Principal
	of     map[Role]Principal
}

func newStaff(t *testing.T, w *world, name string) *staff {
	t.Helper()
	s := &staff{world: w, of: map[Role]Principal{}}
	var err error
	if name == "" {
		s.tenant, err = w.Tenant(t.Context(), FirstTenant)
	} else {
		s.tenant, _, err = w.As(Root(FirstTenant)).CreateTenant(t.Context(), name, name+"@example.com")
	}
	require.NoError(t, err)
	s.root = Root(s.tenant.ID)
	for _, r := range Roles() {
		a, err := w.As(s.root).CreateAccount(t.Context(), string(r), NewAccount{Role: r})
		require.NoError(t, err)
		s.of[r] = a.principal()
	}
	return s
}

func (s *staff) can(p Principal, a Action) bool {
	return s.Allow(p, a, Resource{Owner: s.tenant.ID, Bucket: "bucket", Key: "key"}) == nil
}

func TestRolesDecide(t *testing.T) {
	w := newWorld(t)
	first, other := newStaff(t, w, ""), newStaff(t, w, "other")
	for _, s := range []*staff{first, other} {
		for a, what := range actions {
			ofNode := what.scope == ofNode
			require.Equal(t, !ofNode || s == first, s.can(s.root, a), "root %s", a)
			for r, p := range s.of {
				require.Equal(t, r.Has(a) && (!ofNode || s == first), s.can(p, a), "%s %s", r, a)
			}
		}
	}
	for a, what := range actions {
		if what.scope != ofNode {
			require.False(t, other.can(first.root, a), "of another tenant: %s", a)
			require.False(t, other.can(first.of[RoleAdmin], a), "of another tenant: %s", a)
		}
	}
}

func TestAccountsAreManaged(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	s := newStaff(t, w, "acme")
	as := w.As(s.of[RoleAdmin])

	made, err := as.CreateAccount(ctx, "ci", NewAccount{Role: RoleReadOnly, Expires: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	require.Equal(t, RoleReadOnly, made.Role)
	for _, bad := range []NewAccount{{Role: "boss"}, {Expires: time.Now().Add(-time.Hour)}, {Policies: []string{"none"}}} {
		_, err := as.CreateAccount(ctx, "bad", bad)
		require.Error(t, err)
	}
	_, err = as.CreateAccount(ctx, "a b", NewAccount{})
	require.ErrorIs(t, err, ErrInvalid)
	_, err = as.CreateAccount(ctx, "ci", NewAccount{})
	require.ErrorIs(t, err, ErrExists)

	var names []string
	for after := ""; ; {
		page, next, err := as.Accounts(ctx, after, 2)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page), 2)
		for _, a := range page {
			names = append(names, a.Name)
		}
		if after = next; next == "" {
			break
		}
	}
	require.Equal(t, []string{"admin", "auditor", "ci", "operator", "readonly", "readwrite", "root"}, names)

	who := made.principal()
	require.True(t, s.can(who, GetObject))
	require.False(t, s.can(who, PutObject))
	changed, err := as.UpdateAccount(ctx, "ci", AccountChange{Role: new(RoleReadWrite), Expires: new(time.Time)})
	require.NoError(t, err)
	require.Zero(t, changed.Expires)
	require.True(t, s.can(who, PutObject), "at once, for who acts already")
	_, err = as.UpdateAccount(ctx, "ci", AccountChange{Disabled: new(true)})
	require.NoError(t, err)
	require.False(t, s.can(who, GetObject))
	w.reopen(t)
	require.False(t, s.can(who, GetObject), "and after a restart")
	as = w.As(s.of[RoleAdmin])
	_, err = as.UpdateAccount(ctx, "ci", AccountChange{Disabled: new(false)})
	require.NoError(t, err)
	require.True(t, s.can(who, GetObject))
	read, err := as.Account(ctx, "ci")
	require.NoError(t, err)
	require.Equal(t, RoleReadWrite, read.Role)

	require.NoError(t, as.DeleteAccount(ctx, "ci"))
	require.False(t, s.can(who, GetObject))
	_, err = as.CreateAccount(ctx, "ci", NewAccount{Role: RoleAdmin})
	require.NoError(t, err)
	require.False(t, s.can(who, GetObject), "a later account of the same name is another")
	require.ErrorIs(t, as.DeleteAccount(ctx, "nobody"), ErrNoAccount)
	_, err = as.UpdateAccount(ctx, RootAccount, AccountChange{Disabled: new(true)})
	require.ErrorIs(t, err, ErrDenied)
	_, err = w.As(s.root).UpdateAccount(ctx, RootAccount, AccountChange{Disabled: new(true)})
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorIs(t, w.As(s.root).DeleteAccount(ctx, RootAccount), ErrInvalid)
}

func TestAccountsExpire(t *testing.T) {
	w := newWorld(t)
	s := newStaff(t, w, "acme")
	a, err := w.As(s.root).CreateAccount(t.Context(), "ci", NewAccount{Role: RoleReadOnly, Expires: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	key, err := w.As(s.root).CreateAccessKey(t.Context(), "ci", time.Time{})
	require.NoError(t, err)
	require.True(t, s.can(a.principal(), GetObject))
	w.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	require.False(t, s.can(a.principal(), GetObject))
	_, _, err = w.Authenticate(t.Context(), key.AccessKey, "")
	require.ErrorIs(t, err, ErrNoSuchKey)
}

// Each method asks for the permission that it names, of who asks.
func TestAdministrationIsForAdmins(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	s := newStaff(t, w, "acme")
	as := w.As(s.root)
	_, err := as.CreateAccount(ctx, "ci", NewAccount{})
	require.NoError(t, err)
	key, err := as.CreateAccessKey(ctx, "ci", time.Time{})
	require.NoError(t, err)
	_, err = as.PutPolicy(ctx, "p", []byte(allowAll))
	require.NoError(t, err)
	for need, call := range map[Action]func(a *Admin) error{
		CreateAccount: func(a *Admin) error { _, err := a.CreateAccount(ctx, "x", NewAccount{}); return err },
		ListAccounts:  func(a *Admin) error { _, _, err := a.Accounts(ctx, "", 0); return err },
		GetAccount:    func(a *Admin) error { _, err := a.Account(ctx, "ci"); return err },
		UpdateAccount: func(a *Admin) error { _, err := a.UpdateAccount(ctx, "ci", AccountChange{}); return err },
		DeleteAccount: func(a *Admin) error { return a.DeleteAccount(ctx, "ci") },
		CreateAccessKey: func(a *Admin) error {
			_, err := a.CreateAccessKey(ctx, "ci", time.Time{})
			return err
		},
		ListAccessKeys: func(a *Admin) error { _, err := a.AccessKeys(ctx, ""); return err },
		UpdateAccessKey: func(a *Admin) error {
			_, err := a.RotateAccessKey(ctx, key.AccessKey, time.Hour)
			_, err2 := a.UpdateAccessKey(ctx, key.AccessKey, KeyChange{})
			require.Equal(t, err == nil, err2 == nil)
			return err
		},
		DeleteAccessKey: func(a *Admin) error { return a.DeleteAccessKey(ctx, key.AccessKey) },
		PutPolicy:       func(a *Admin) error { _, err := a.PutPolicy(ctx, "q", []byte(allowAll)); return err },
		GetPolicy:       func(a *Admin) error { _, err := a.Policy(ctx, "p"); return err },
		ListPolicies:    func(a *Admin) error { _, _, err := a.Policies(ctx, "", 0); return err },
		DeletePolicy:    func(a *Admin) error { return a.DeletePolicy(ctx, "none") },
		AttachPolicy: func(a *Admin) error {
			err := a.AttachPolicy(ctx, "ci", "p")
			require.Equal(t, err == nil, a.DetachPolicy(ctx, "ci", "p") == nil)
			return err
		},
		ListTenants:  func(a *Admin) error { _, _, err := a.Tenants(ctx, 0, 0); return err },
		GetTenant:    func(a *Admin) error { _, err := a.Tenant(ctx, "default"); return err },
		CreateTenant: func(a *Admin) error { _, _, err := a.CreateTenant(ctx, "new", ""); return err },
		UpdateTenant: func(a *Admin) error {
			_, err := a.UpdateTenant(ctx, "acme", TenantChange{Status: new(Suspended)})
			_, err2 := a.ResetTenant(ctx, "acme")
			require.Equal(t, err == nil, err2 == nil)
			return err
		},
		DeleteTenant: func(a *Admin) error { _, err := a.DeleteTenant(ctx, "acme", nothingThere); return err },
	} {
		for r, p := range s.of {
			if !r.Has(need) || actions[need].scope == ofNode {
				require.ErrorIs(t, call(w.As(p)), ErrDenied, "%s %s", r, need)
			}
		}
		require.ErrorIs(t, call(w.As(Principal{})), ErrDenied, need)
		if actions[need].scope == ofNode {
			require.ErrorIs(t, call(w.As(s.root)), ErrDenied, need)
		}
	}
}

const allowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

func nothingThere(metastore.Txn, TenantID) error { return nil }

// In the first tenant an admin is no operator of the node, and can't become one.
func TestAdminsDontBecomeOperators(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	s := newStaff(t, w, "")
	as := w.As(s.of[RoleAdmin])
	_, err := as.CreateAccount(ctx, "x", NewAccount{Role: RoleOperator})
	require.ErrorIs(t, err, ErrDenied)
	_, err = as.UpdateAccount(ctx, "readonly", AccountChange{Role: new(RoleOperator)})
	require.ErrorIs(t, err, ErrDenied)
	_, err = as.CreateAccessKey(ctx, "operator", time.Time{})
	require.ErrorIs(t, err, ErrDenied)
	_, err = as.CreateAccessKey(ctx, RootAccount, time.Time{})
	require.ErrorIs(t, err, ErrDenied)
	key, err := w.As(s.root).CreateAccessKey(ctx, "operator", time.Time{})
	require.NoError(t, err)
	_, err = as.RotateAccessKey(ctx, key.AccessKey, 0)
	require.ErrorIs(t, err, ErrDenied)
	_, err = as.UpdateAccessKey(ctx, key.AccessKey, KeyChange{Disabled: new(true)})
	require.ErrorIs(t, err, ErrDenied)
	_, err = as.UpdateAccount(ctx, "operator", AccountChange{Role: new(RoleAdmin)})
	require.ErrorIs(t, err, ErrDenied)
	require.ErrorIs(t, as.DeleteAccount(ctx, "operator"), ErrDenied)

	_, err = as.PutPolicy(ctx, "all", []byte(allowAll))
	require.NoError(t, err)
	require.NoError(t, as.AttachPolicy(ctx, "admin", "all"))
	require.False(t, s.can(s.of[RoleAdmin], CreateTenant), "nothing attached gives what is of the node")
	read, err := w.As(s.root).Account(ctx, "readonly")
	require.NoError(t, err)
	require.Equal(t, RoleReadOnly, read.Role, "a change that was refused is not made")
	_, err = w.As(s.root).Account(ctx, "x")
	require.ErrorIs(t, err, ErrNoAccount)
}

func TestAttachedPolicies(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	s := newStaff(t, w, "acme")
	as := w.As(s.root)
	put := func(name, effect, action, resource string) {
		t.Helper()
		_, err := as.PutPolicy(ctx, name, fmt.Appendf(nil, `{"Version":"2012-10-17","Statement":{"Effect":%q,"Action":%q,"Resource":%q}}`, effect, action, resource))
		require.NoError(t, err)
	}
	who := s.of[RoleReadOnly]
	put("write", "Allow", "s3:PutObject", "arn:aws:s3:::bucket/in/*")
	require.NoError(t, as.AttachPolicy(ctx, "readonly", "write"))
	require.NoError(t, as.AttachPolicy(ctx, "readonly", "write"))
	on := func(a Action, key string) error {
		return w.Allow(who, a, Resource{Owner: s.tenant.ID, Find: func() (string, string, error) { return "bucket", key, nil }})
	}
	require.NoError(t, on(PutObject, "in/x"))
	require.ErrorIs(t, on(PutObject, "out/x"), ErrDenied)
	put("secret", "Deny", "s3:*", "arn:aws:s3:::bucket/in/secret/*")
	require.NoError(t, as.AttachPolicy(ctx, "readonly", "secret"))
	require.ErrorIs(t, on(GetObject, "in/secret/x"), ErrDenied, "an explicit deny wins over the role")
	require.ErrorIs(t, on(PutObject, "in/secret/x"), ErrDenied)
	open := Settings{SettingPolicy: []byte(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}}`)}
	r := Resource{Owner: s.tenant.ID, Bucket: "bucket", Key: "in/secret/x", Settings: open}
	require.ErrorIs(t, w.Allow(who, GetObject, r), ErrDenied, "and over the bucket's policy")

	put("write", "Allow", "s3:PutObject", "arn:aws:s3:::bucket/elsewhere/*")
	require.ErrorIs(t, on(PutObject, "in/x"), ErrDenied, "a policy that is replaced counts at once")
	require.ErrorIs(t, as.DeletePolicy(ctx, "write"), ErrInUse)
	require.NoError(t, as.DetachPolicy(ctx, "readonly", "write"))
	require.NoError(t, as.DeletePolicy(ctx, "write"))
	require.ErrorIs(t, as.AttachPolicy(ctx, "readonly", "write"), ErrNoPolicy)
	require.ErrorIs(t, as.AttachPolicy(ctx, RootAccount, "secret"), ErrInvalid)
	w.reopen(t)
	require.ErrorIs(t, on(GetObject, "in/secret/x"), ErrDenied)
	for _, bad := range []string{"", "{}", `{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`, `{"Statement":{"Effect":"Allow","Action":"iam:*","Resource":"*"}}`} {
		_, err := w.As(s.root).PutPolicy(ctx, "bad", []byte(bad))
		require.ErrorIs(t, err, ErrInvalid, bad)
	}
}

// A bucket's policy gives to an account of the tenant what it names it for; naming the tenant leaves it to roles.
func TestBucketPoliciesAndRoles(t *testing.T) {
	w := newWorld(t)
	s, other := newStaff(t, w, "acme"), newStaff(t, w, "other")
	with := func(principal string) Resource {
		return Resource{Owner: s.tenant.ID, Bucket: "bucket", Key: "key", Settings: Settings{SettingPolicy: fmt.Appendf(nil,
			`{"Statement":{"Effect":"Allow","Principal":{"AWS":%q},"Action":["s3:PutObject","s3:GetObject"],"Resource":"arn:aws:s3:::bucket/*"}}`, principal)}}
	}
	reader := s.of[RoleReadOnly]
	require.ErrorIs(t, w.Allow(reader, PutObject, with(s.tenant.ID.AccountID())), ErrDenied)
	require.NoError(t, w.Allow(s.of[RoleReadWrite], PutObject, with(s.tenant.ID.AccountID())))
	require.NoError(t, w.Allow(reader, PutObject, with("arn:aws:iam::"+s.tenant.ID.AccountID()+":user/readonly")))
	require.NoError(t, w.Allow(reader, PutObject, with("*")), "what everyone has")

	shared := with("arn:aws:iam::" + other.tenant.ID.AccountID() + ":root")
	require.NoError(t, w.Allow(other.root, PutObject, shared))
	require.NoError(t, w.Allow(other.of[RoleReadWrite], PutObject, shared))
	require.NoError(t, w.Allow(other.of[RoleReadOnly], GetObject, shared))
	require.ErrorIs(t, w.Allow(other.of[RoleReadOnly], PutObject, shared), ErrDenied, "its own tenant must let it, too")
	require.ErrorIs(t, w.Allow(other.of[RoleOperator], GetObject, shared), ErrDenied)
	require.ErrorIs(t, w.Allow(other.of[RoleReadOnly], PutObject, with("*")), ErrDenied)
	require.NoError(t, w.Allow(Principal{}, PutObject, with("*")))
}

func TestKeysAreRotated(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	s := newStaff(t, w, "acme")
	as := w.As(s.root)
	key, err := as.CreateAccessKey(ctx, "readwrite", time.Time{})
	require.NoError(t, err)
	secrets := func() []string {
		t.Helper()
		got, who, err := w.Authenticate(ctx, key.AccessKey, "")
		require.NoError(t, err)
		require.Equal(t, "readwrite", who.Account)
		return got
	}
	fresh, err := as.RotateAccessKey(ctx, key.AccessKey, time.Hour)
	require.NoError(t, err)
	require.Equal(t, key.AccessKey, fresh.AccessKey)
	require.Equal(t, []string{fresh.Secret, key.Secret}, secrets())
	w.reopen(t)
	require.Equal(t, []string{fresh.Secret, key.Secret}, secrets())
	w.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	require.Equal(t, []string{fresh.Secret}, secrets(), "the overlap is over")
	w.now = time.Now
	newest, err := w.As(s.root).RotateAccessKey(ctx, key.AccessKey, 0)
	require.NoError(t, err)
	require.Equal(t, []string{newest.Secret}, secrets())
	_, err = w.As(s.root).RotateAccessKey(ctx, key.AccessKey, 8*day)
	require.ErrorIs(t, err, ErrInvalid)
	require.NotContains(t, string(w.dump(t)), newest.Secret)

	second, err := w.As(s.root).CreateAccessKey(ctx, "readwrite", time.Now().Add(time.Hour))
	require.NoError(t, err)
	w.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	_, _, err = w.Authenticate(ctx, second.AccessKey, "")
	require.ErrorIs(t, err, ErrNoSuchKey, "an access key expires")
	_, _, err = w.Authenticate(ctx, key.AccessKey, "any-token")
	require.ErrorIs(t, err, ErrBadToken)
}

func TestLastUseIsKeptCoarsely(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	s := newStaff(t, w, "acme")
	key, err := w.As(s.root).CreateAccessKey(ctx, "readwrite", time.Time{})
	require.NoError(t, err)
	used := func() time.Time {
		all, err := w.As(s.root).AccessKeys(ctx, "readwrite")
		require.NoError(t, err)
		require.Len(t, all, 1)
		return all[0].Used
	}
	require.Zero(t, used())
	w.Used(key.AccessKey)
	require.WithinDuration(t, time.Now(), used(), 2*time.Minute)
	require.NoError(t, w.StoreUsed(ctx))
	w.reopen(t)
	require.WithinDuration(t, time.Now(), used(), 2*time.Minute)
	w.Used(key.AccessKey)
	require.NoError(t, w.As(s.root).DeleteAccessKey(ctx, key.AccessKey))
	require.NoError(t, w.StoreUsed(ctx))
	require.NotContains(t, string(w.dump(t)), key.AccessKey, "nothing is left of it")
}

func TestTenantsAreManaged(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	first := newStaff(t, w, "")
	as := w.As(first.of[RoleOperator])
	made, root, err := as.CreateTenant(ctx, "acme", "ops@acme.example")
	require.NoError(t, err)
	_, who, err := w.Authenticate(ctx, root.AccessKey, "")
	require.NoError(t, err)
	require.True(t, who.Root)
	require.Equal(t, made.ID, who.Tenant)
	_, _, err = as.CreateTenant(ctx, "acme", "")
	require.ErrorIs(t, err, ErrExists)
	bucket := Resource{Owner: made.ID, Bucket: "bucket"}
	require.NoError(t, w.Allow(who, CreateBucket, bucket))

	_, err = as.UpdateTenant(ctx, "acme", TenantChange{Status: new(Suspended)})
	require.NoError(t, err)
	_, _, err = w.Authenticate(ctx, root.AccessKey, "")
	require.ErrorIs(t, err, ErrSuspended)
	require.ErrorIs(t, w.Allow(who, ListBucket, bucket), ErrDenied, "who acts already is refused, too")
	require.ErrorIs(t, w.Allow(Root(made.ID), ListBucket, bucket), ErrSuspended)
	_, err = as.UpdateTenant(ctx, "default", TenantChange{Status: new(Suspended)})
	require.ErrorIs(t, err, ErrInvalid)

	_, err = as.UpdateTenant(ctx, "acme", TenantChange{Status: new(Active), Name: new("emca")})
	require.NoError(t, err)
	require.NoError(t, w.Allow(who, ListBucket, bucket))
	_, err = as.Tenant(ctx, "acme")
	require.ErrorIs(t, err, ErrNoTenant)
	found, err := w.As(who).Tenant(ctx, "emca")
	require.NoError(t, err)
	require.Equal(t, made.ID, found.ID)
	again, err := as.ResetTenant(ctx, "emca")
	require.NoError(t, err)
	_, who2, err := w.Authenticate(ctx, again.AccessKey, "")
	require.NoError(t, err)
	require.True(t, who2.Root)

	all, next, err := as.Tenants(ctx, 0, 1)
	require.NoError(t, err)
	require.Equal(t, []string{"default"}, []string{all[0].Name})
	all, next, err = as.Tenants(ctx, next, 1)
	require.NoError(t, err)
	require.Equal(t, []string{"emca"}, []string{all[0].Name})
	require.Zero(t, next)

	_, err = as.DeleteTenant(ctx, "emca", nothingThere)
	require.ErrorIs(t, err, ErrInUse, "it acts")
	_, err = as.UpdateTenant(ctx, "emca", TenantChange{Status: new(Suspended)})
	require.NoError(t, err)
	require.NoError(t, w.EnsureKMSKey(ctx, made.ID, "theirs"))
	_, err = as.DeleteTenant(ctx, "emca", func(metastore.Txn, TenantID) error { return fmt.Errorf("%w: it has buckets", ErrInUse) })
	require.ErrorIs(t, err, ErrInUse)
	gone, err := as.DeleteTenant(ctx, "emca", nothingThere)
	require.NoError(t, err)
	require.Equal(t, made.ID, gone)
	require.False(t, w.KMSKey(ctx, made.ID, "theirs"))
	_, err = as.DeleteTenant(ctx, "emca", nothingThere)
	require.ErrorIs(t, err, ErrNoTenant)
	_, _, err = w.Authenticate(ctx, root.AccessKey, "")
	require.ErrorIs(t, err, ErrNoSuchKey)
	require.ErrorIs(t, w.Allow(who, ListBucket, bucket), ErrDenied)
	next2, _, err := as.CreateTenant(ctx, "emca", "")
	require.NoError(t, err)
	require.Greater(t, next2.ID, made.ID, "numbers are not given out again")
	w.reopen(t)
	require.ErrorIs(t, w.Allow(who, ListBucket, bucket), ErrDenied)
}

// Records of before there were roles are read as what they meant.
func TestOldRecordsAreRead(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	root, err := w.EnsureRoot(ctx, "", "")
	require.NoError(t, err)
	oldAccount := func(a Account) []byte {
		e := newEncoder()
		e.bool(a.Root)
		e.string(a.rootKey)
		e.bool(a.generated)
		e.time(time.Now())
		return *e
	}
	oldKey := func(k AccessKey, secret string) []byte {
		e := newEncoder()
		e.uint(uint64(k.Tenant))
		e.string(k.Account)
		e.bool(k.Root)
		e.bool(k.Disabled)
		e.time(time.Now())
		e.bytes(w.secrets.seal([]byte(secret), aboutSecret(k)))
		return *e
	}
	key := AccessKey{ID: "OLDKEY", Tenant: FirstTenant, Account: "old"}
	require.NoError(t, w.kv.Update(ctx, metastore.Durable, func(txn metastore.Txn) error {
		require.NoError(t, txn.Set(accountKey(FirstTenant, "old"), oldAccount(Account{})))
		require.NoError(t, txn.Set(accountKey(FirstTenant, RootAccount), oldAccount(Account{Root: true, rootKey: root.AccessKey, generated: true})))
		require.NoError(t, txn.Set(indexKey(FirstTenant, key.ID), []byte{recordVersion}))
		return txn.Set(credentialKey(key.ID), oldKey(key, "old-secret"))
	}))
	w.reopen(t)
	secrets, who, err := w.Authenticate(ctx, "OLDKEY", "")
	require.NoError(t, err)
	require.Equal(t, []string{"old-secret"}, secrets)
	mine := Resource{Owner: FirstTenant, Bucket: "bucket"}
	require.NoError(t, w.Allow(who, PutObject, mine))
	require.ErrorIs(t, w.Allow(who, PutBucketPolicy, mine), ErrDenied)
	again, err := w.EnsureRoot(ctx, "", "")
	require.NoError(t, err)
	require.Equal(t, root, again)
	require.NoError(t, w.Allow(Root(FirstTenant), PutBucketPolicy, mine))
}
