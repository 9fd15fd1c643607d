package tenancy

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore"
	"k3fs/metastore"
	"k3fs/metastore/memkv"
)

type world struct {
	*Tenancy
	kv     metastore.Store
	master *Master
}

func newWorld(t testing.TB) *world {
	t.Helper()
	master, err := CreateMaster(filepath.Join(t.TempDir(), "master.key"))
	require.NoError(t, err)
	w := &world{kv: memkv.New(memkv.Options{}), master: master}
	t.Cleanup(func() { require.NoError(t, w.kv.Close()) })
	w.reopen(t)
	return w
}

// reopen reads everything anew from the store, with empty caches.
func (w *world) reopen(t testing.TB) {
	t.Helper()
	var err error
	w.Tenancy, err = Open(t.Context(), w.kv, Options{Master: w.master})
	require.NoError(t, err)
}

func (w *world) dump(t *testing.T) (stored []byte) {
	t.Helper()
	require.NoError(t, w.kv.View(t.Context(), func(r metastore.Reader) error {
		return r.Scan(metastore.Range{}, func(k, v []byte) (bool, error) {
			require.Equal(t, byte('t'), k[0])
			stored = append(append(stored, k...), v...)
			return true, nil
		})
	}))
	return stored
}

func TestOpenMakesTheFirstTenantOnce(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		all, err := w.Tenants(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Equal(t, FirstTenant, all[0].ID)
		require.Equal(t, "default", all[0].Name)
		require.Equal(t, Active, all[0].Status)
		w.reopen(t)
	}
	_, err := Open(t.Context(), w.kv, Options{})
	require.Error(t, err)
}

func TestOpenRefusesAnotherMasterKey(t *testing.T) {
	w := newWorld(t)
	other, err := CreateMaster(filepath.Join(t.TempDir(), "other.key"))
	require.NoError(t, err)
	_, err = Open(t.Context(), w.kv, Options{Master: other})
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "master key")
}

func TestEnsureRootMakesCredentialsOnce(t *testing.T) {
	w := newWorld(t)
	first, err := w.EnsureRoot(t.Context(), "", "")
	require.NoError(t, err)
	require.True(t, first.Generated)
	require.Len(t, first.AccessKey, 20)
	require.Len(t, first.Secret, 40)
	w.reopen(t)
	again, err := w.EnsureRoot(t.Context(), "", "")
	require.NoError(t, err)
	require.Equal(t, first, again)

	secret, who, err := w.Authenticate(t.Context(), first.AccessKey, "")
	require.NoError(t, err)
	require.Equal(t, []string{first.Secret}, secret)
	require.Equal(t, Principal{Tenant: FirstTenant, Account: RootAccount, AccessKey: first.AccessKey, Root: true}, who)
}

func TestEnsureRootReplaces(t *testing.T) {
	w := newWorld(t)
	old, err := w.EnsureRoot(t.Context(), "", "")
	require.NoError(t, err)
	given, err := w.EnsureRoot(t.Context(), "ADMIN", "correct-horse")
	require.NoError(t, err)
	require.False(t, given.Generated)
	_, _, err = w.Authenticate(t.Context(), old.AccessKey, "")
	require.ErrorIs(t, err, ErrNoSuchKey)
	secret, _, err := w.Authenticate(t.Context(), "ADMIN", "")
	require.NoError(t, err)
	require.Equal(t, []string{"correct-horse"}, secret)

	_, err = w.EnsureRoot(t.Context(), "ADMIN", "battery-staple") // same key, new secret
	require.NoError(t, err)
	secret, _, err = w.Authenticate(t.Context(), "ADMIN", "")
	require.NoError(t, err)
	require.Equal(t, []string{"battery-staple"}, secret)

	kept, err := w.EnsureRoot(t.Context(), "", "")
	require.NoError(t, err)
	require.Equal(t, Credentials{AccessKey: "ADMIN", Secret: "battery-staple"}, kept)
	keys, err := w.AccessKeys(t.Context(), FirstTenant)
	require.NoError(t, err)
	require.Len(t, keys, 1)
}

func TestEnsureRootRefuses(t *testing.T) {
	w := newWorld(t)
	for _, c := range [][2]string{
		{"ADMIN", ""}, {"", "correct-horse"}, {"AB", "correct-horse"}, {"a/b/c", "correct-horse"},
		{"ADMIN", "short"}, {"ADMIN", "with a space"}, {"ADMIN", strings.Repeat("x", 129)},
		{strings.Repeat("x", 129), "correct-horse"}, {"ADMIN", "newline-\n-inside"},
	} {
		_, err := w.EnsureRoot(t.Context(), c[0], c[1])
		require.ErrorIs(t, err, ErrInvalid, "%q", c)
		require.NotContains(t, err.Error(), "correct-horse")
	}
	_, err := w.CreateAccount(t.Context(), FirstTenant, "ci", NewAccount{})
	require.NoError(t, err)
	plain, err := w.CreateAccessKey(t.Context(), FirstTenant, "ci")
	require.NoError(t, err)
	_, err = w.EnsureRoot(t.Context(), plain.AccessKey, "correct-horse")
	require.ErrorIs(t, err, ErrExists)
}

func TestAccessKeysOfAnAccount(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	_, err := w.CreateAccessKey(ctx, FirstTenant, "ci")
	require.ErrorIs(t, err, ErrNoAccount)
	made, err := w.CreateAccount(ctx, FirstTenant, "ci", NewAccount{})
	require.NoError(t, err)
	require.Equal(t, RoleReadWrite, made.Role)
	_, err = w.CreateAccount(ctx, FirstTenant, "ci", NewAccount{})
	require.ErrorIs(t, err, ErrExists)
	_, err = w.CreateAccount(ctx, 99, "ci", NewAccount{})
	require.ErrorIs(t, err, ErrNoTenant)
	c, err := w.CreateAccessKey(ctx, FirstTenant, "ci")
	require.NoError(t, err)

	check := func(want error) {
		t.Helper()
		for range 2 { // from the store, then from the cache
			secret, who, err := w.Authenticate(ctx, c.AccessKey, "")
			if want != nil {
				require.ErrorIs(t, err, want)
				require.NotContains(t, secret, c.Secret)
				require.Zero(t, who)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, []string{c.Secret}, secret)
			require.Equal(t, Principal{Tenant: FirstTenant, Account: "ci", AccessKey: c.AccessKey, serial: made.id}, who)
		}
	}
	check(nil)
	require.NoError(t, w.DisableAccessKey(ctx, FirstTenant, c.AccessKey, true))
	check(ErrNoSuchKey)
	require.NoError(t, w.DisableAccessKey(ctx, FirstTenant, c.AccessKey, false))
	check(nil)
	require.ErrorIs(t, w.SetStatus(ctx, FirstTenant, Suspended), ErrInvalid)
	check(nil)
	require.NoError(t, w.DeleteAccessKey(ctx, FirstTenant, c.AccessKey))
	check(ErrNoSuchKey)
	require.ErrorIs(t, w.DeleteAccessKey(ctx, FirstTenant, c.AccessKey), ErrNoSuchKey)
	keys, err := w.AccessKeys(ctx, FirstTenant)
	require.NoError(t, err)
	require.Empty(t, keys)
}

func TestTheRootKeyCannotBeDeleted(t *testing.T) {
	w := newWorld(t)
	root, err := w.EnsureRoot(t.Context(), "", "")
	require.NoError(t, err)
	require.ErrorIs(t, w.DeleteAccessKey(t.Context(), FirstTenant, root.AccessKey), ErrInvalid)
}

func TestTenantsAreApart(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	other, err := w.CreateTenant(ctx, "other")
	require.NoError(t, err)
	require.Equal(t, TenantID(2), other.ID)
	_, err = w.CreateTenant(ctx, "other")
	require.ErrorIs(t, err, ErrExists)
	_, err = w.CreateTenant(ctx, "no spaces")
	require.ErrorIs(t, err, ErrInvalid)

	theirs, err := w.CreateAccessKey(ctx, other.ID, RootAccount)
	require.NoError(t, err)
	require.ErrorIs(t, w.DeleteAccessKey(ctx, FirstTenant, theirs.AccessKey), ErrNoSuchKey)
	require.ErrorIs(t, w.DisableAccessKey(ctx, FirstTenant, theirs.AccessKey, true), ErrNoSuchKey)
	mine, err := w.AccessKeys(ctx, FirstTenant)
	require.NoError(t, err)
	require.Empty(t, mine)
	_, who, err := w.Authenticate(ctx, theirs.AccessKey, "")
	require.NoError(t, err)
	require.Equal(t, other.ID, who.Tenant)
	require.ErrorIs(t, Allow(who, GetObject, Resource{Owner: FirstTenant}), ErrDenied)
}

func TestKeyring(t *testing.T) {
	w := newWorld(t)
	other, err := w.CreateTenant(t.Context(), "other")
	require.NoError(t, err)
	seen := map[[32]byte]bool{{}: true}
	for _, id := range []TenantID{FirstTenant, other.ID} {
		epoch, err := w.Current(chunkstore.Domain(id))
		require.NoError(t, err)
		require.Equal(t, uint32(1), epoch)
		key, err := w.DataKey(chunkstore.Domain(id), epoch)
		require.NoError(t, err)
		require.False(t, seen[key], "keys are distinct and not zero")
		seen[key] = true
		w.reopen(t)
		again, err := w.DataKey(chunkstore.Domain(id), epoch)
		require.NoError(t, err)
		require.Equal(t, key, again)
	}
	_, err = w.Current(99)
	require.ErrorIs(t, err, ErrNoTenant)
	_, err = w.Current(0)
	require.ErrorIs(t, err, ErrNoTenant)
	for _, epoch := range []uint32{0, 2} {
		key, err := w.DataKey(1, epoch)
		require.ErrorIs(t, err, ErrNoKey)
		require.Zero(t, key)
	}
}

func TestDecoysAreStableAndDiffer(t *testing.T) {
	w := newWorld(t)
	a1, _, err := w.Authenticate(t.Context(), "UNKNOWN1", "")
	require.ErrorIs(t, err, ErrNoSuchKey)
	a2, _, err := w.Authenticate(t.Context(), "UNKNOWN1", "")
	require.ErrorIs(t, err, ErrNoSuchKey)
	b, _, err := w.Authenticate(t.Context(), "UNKNOWN2", "")
	require.ErrorIs(t, err, ErrNoSuchKey)
	require.Equal(t, a1, a2)
	require.NotEqual(t, a1, b)
	require.Len(t, a1[0], 40)
	for _, odd := range []string{"", "a", "\x00\xff", strings.Repeat("k", 1<<20)} {
		_, _, err := w.Authenticate(t.Context(), odd, "")
		require.ErrorIs(t, err, ErrNoSuchKey)
	}
	require.Empty(t, w.known, "unknown access keys take no memory")
}

func TestNoSecretIsStoredInClear(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	var secrets []string
	root, err := w.EnsureRoot(ctx, "", "")
	require.NoError(t, err)
	given, err := w.EnsureRoot(ctx, "ADMIN", "correct-horse-battery-staple")
	require.NoError(t, err)
	_, err = w.CreateAccount(ctx, FirstTenant, "ci", NewAccount{})
	require.NoError(t, err)
	plain, err := w.CreateAccessKey(ctx, FirstTenant, "ci")
	require.NoError(t, err)
	data, err := w.DataKey(1, 1)
	require.NoError(t, err)
	meta := w.master.MetadataKey()
	secrets = append(secrets, root.Secret, given.Secret, plain.Secret, string(data[:]), string(w.master.key[:]), string(meta[:]))

	stored := w.dump(t)
	require.Contains(t, string(stored), plain.AccessKey, "the dump shows what is there")
	for i, s := range secrets {
		require.False(t, bytes.Contains(stored, []byte(s)), "secret %d is stored in clear", i)
		require.False(t, bytes.Contains(stored, []byte(fmt.Sprintf("%x", s))), "secret %d is stored in hex", i)
	}
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	log.Info("made", "credentials", plain, "in a struct", struct{ C Credentials }{plain})
	fmt.Fprintf(&out, "%v %+v %#v %s", plain, plain, plain, plain)
	require.NotContains(t, out.String(), plain.Secret)
}

// A record that was changed or put in another's place never opens as something else.
func TestSpoiledRecordsAreCorrupt(t *testing.T) {
	ctx := context.Background()
	for _, tt := range []struct {
		name  string
		spoil func(get func([]byte) []byte, set func(k, v []byte))
	}{
		{"secret of another key", func(get func([]byte) []byte, set func(k, v []byte)) {
			set(credentialKey("ADMIN"), get(credentialKey("OTHER")))
		}},
		{"truncated", func(get func([]byte) []byte, set func(k, v []byte)) {
			raw := get(credentialKey("ADMIN"))
			set(credentialKey("ADMIN"), raw[:len(raw)-1])
		}},
		{"trailing byte", func(get func([]byte) []byte, set func(k, v []byte)) {
			set(credentialKey("ADMIN"), append(get(credentialKey("ADMIN")), 0))
		}},
		{"empty", func(_ func([]byte) []byte, set func(k, v []byte)) { set(credentialKey("ADMIN"), []byte{}) }},
		{"version", func(get func([]byte) []byte, set func(k, v []byte)) {
			raw := get(credentialKey("ADMIN"))
			raw[0]++
			set(credentialKey("ADMIN"), raw)
		}},
		{"given to another tenant", func(get func([]byte) []byte, set func(k, v []byte)) {
			k, sealed, err := decodeCredential("ADMIN", get(credentialKey("ADMIN")))
			if err != nil {
				panic(err)
			}
			k.Tenant = 2
			set(credentialKey("ADMIN"), encodeCredential(k, sealed))
		}},
		{"raised to root", func(get func([]byte) []byte, set func(k, v []byte)) {
			k, sealed, err := decodeCredential("OTHER", get(credentialKey("OTHER")))
			if err != nil {
				panic(err)
			}
			k.Root = true
			set(credentialKey("ADMIN"), encodeCredential(k, sealed))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			_, err := w.EnsureRoot(ctx, "ADMIN", "correct-horse")
			require.NoError(t, err)
			require.NoError(t, w.kv.Update(ctx, metastore.Durable, func(txn metastore.Txn) error {
				return w.putCredential(txn, AccessKey{ID: "OTHER", Tenant: 1, Account: "ci"}, "battery-staple")
			}))
			require.NoError(t, w.kv.Update(ctx, metastore.Durable, func(txn metastore.Txn) error {
				tt.spoil(func(k []byte) []byte {
					v, err := txn.Get(k)
					require.NoError(t, err)
					return bytes.Clone(v)
				}, func(k, v []byte) { require.NoError(t, txn.Set(k, v)) })
				return nil
			}))
			w.reopen(t)
			secret, who, err := w.Authenticate(ctx, "ADMIN", "")
			require.ErrorIs(t, err, ErrCorrupt)
			require.NotContains(t, secret, "correct-horse")
			require.NotContains(t, secret, "battery-staple")
			require.Zero(t, who)
		})
	}
}

func TestAuthenticateSeesAChangeThatRacesWithIt(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	c, err := w.EnsureRoot(ctx, "", "")
	require.NoError(t, err)
	for range 200 {
		done := make(chan error)
		go func() {
			_, _, err := w.Authenticate(ctx, c.AccessKey, "")
			done <- err
		}()
		require.NoError(t, w.DisableAccessKey(ctx, FirstTenant, c.AccessKey, true))
		<-done
		_, _, err := w.Authenticate(ctx, c.AccessKey, "")
		require.ErrorIs(t, err, ErrNoSuchKey)
		require.NoError(t, w.DisableAccessKey(ctx, FirstTenant, c.AccessKey, false))
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(encodeTenant(Tenant{ID: 1, Name: "default", Epoch: 1}))
	f.Add(encodeAccount(Account{Root: true, rootKey: "ADMIN"}))
	f.Add(encodeAccount(Account{Role: RoleAuditor, Policies: []string{"p"}, Expires: time.Unix(1, 0)}))
	f.Add(encodeCredential(AccessKey{Tenant: 1, Account: "ci"}, sealedSecrets{current: []byte("sealed")}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if one, err := decodeTenant(raw); err == nil {
			again, err := decodeTenant(encodeTenant(one))
			require.NoError(t, err)
			require.Equal(t, one, again)
		}
		if one, err := decodeAccount(1, "ci", raw); err == nil {
			again, err := decodeAccount(1, "ci", encodeAccount(one))
			require.NoError(t, err)
			require.Equal(t, one, again)
		}
		if one, sealed, err := decodeCredential("ADMIN", raw); err == nil {
			again, resealed, err := decodeCredential("ADMIN", encodeCredential(one, sealed))
			require.NoError(t, err)
			require.Equal(t, one, again)
			require.Equal(t, sealed, resealed)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	master, err := CreateMaster(filepath.Join(b.TempDir(), "master.key"))
	require.NoError(b, err)
	tn, err := Open(b.Context(), memkv.New(memkv.Options{}), Options{Master: master})
	require.NoError(b, err)
	c, err := tn.EnsureRoot(b.Context(), "", "")
	require.NoError(b, err)
	for b.Loop() {
		_, _, _ = tn.Authenticate(b.Context(), c.AccessKey, "")
	}
}
