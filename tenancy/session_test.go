package tenancy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSessions(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	s := newStaff(t, w, "acme")
	key, err := w.As(s.root).CreateAccessKey(ctx, "admin", time.Time{})
	require.NoError(t, err)
	_, admin, err := w.Authenticate(ctx, key.AccessKey, "")
	require.NoError(t, err)
	role := "arn:aws:iam::" + s.tenant.ID.AccountID() + ":role/"

	got, err := w.Assume(ctx, admin, NewSession{Role: role + "readwrite", Name: "job-1",
		Policy: []byte(`{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::bucket/in/*"}}`)})
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", got, got, got), got.Secret)
	secrets, who, err := w.Authenticate(ctx, got.AccessKey, got.Token)
	require.NoError(t, err)
	require.Equal(t, []string{got.Secret}, secrets)
	require.Equal(t, "readwrite", who.Account)
	require.Equal(t, got.AccessKey, who.AccessKey)
	on := func(p Principal, a Action, key string) error {
		return w.Allow(p, a, Resource{Owner: s.tenant.ID, Bucket: "bucket", Key: key})
	}
	require.NoError(t, on(who, PutObject, "in/x"))
	require.ErrorIs(t, on(who, PutObject, "out/x"), ErrDenied, "its policy narrows")
	require.ErrorIs(t, on(who, PutBucketPolicy, "in/x"), ErrDenied, "and gives nothing that the account has not")
	_, err = w.Assume(ctx, who, NewSession{})
	require.ErrorIs(t, err, ErrSessionCaller)
	w.reopen(t)
	_, _, err = w.Authenticate(ctx, got.AccessKey, got.Token)
	require.NoError(t, err, "after a restart, too")

	narrow, err := w.Assume(ctx, admin, NewSession{Role: role + "k3fs/readonly"})
	require.NoError(t, err)
	_, reader, err := w.Authenticate(ctx, narrow.AccessKey, narrow.Token)
	require.NoError(t, err)
	require.Equal(t, "admin", reader.Account)
	require.NoError(t, on(reader, GetObject, "x"))
	require.ErrorIs(t, on(reader, PutObject, "x"), ErrDenied)
	_, err = w.As(reader).CreateAccount(ctx, "x", NewAccount{})
	require.ErrorIs(t, err, ErrDenied)
}

func TestSessionsAreRefused(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	s, other := newStaff(t, w, "acme"), newStaff(t, w, "other")
	first := newStaff(t, w, "")
	role := "arn:aws:iam::" + s.tenant.ID.AccountID() + ":role/"
	for _, tt := range []struct {
		who  Principal
		n    NewSession
		want error
	}{
		{s.of[RoleReadWrite], NewSession{Role: role + "readonly"}, ErrDenied},
		{s.of[RoleAdmin], NewSession{Role: role + "nobody"}, ErrDenied},
		{s.of[RoleAdmin], NewSession{Role: role + "root"}, ErrDenied},
		{s.root, NewSession{Role: role + "k3fs/boss"}, ErrDenied},
		{other.root, NewSession{Role: role + "readonly"}, ErrDenied},
		{first.of[RoleAdmin], NewSession{Role: roleARN(FirstTenant, "operator")}, ErrDenied},
		{Principal{}, NewSession{}, ErrDenied},
		{s.root, NewSession{Role: "readonly"}, ErrInvalid},
		{s.root, NewSession{Duration: time.Minute}, ErrInvalid},
		{s.root, NewSession{Duration: 13 * time.Hour}, ErrInvalid},
		{s.root, NewSession{Name: "a b"}, ErrInvalid},
		{s.root, NewSession{Policy: []byte("{}")}, ErrInvalid},
		{s.root, NewSession{Policy: []byte(strings.Repeat(" ", 4000))}, ErrInvalid},
	} {
		_, err := w.Assume(ctx, tt.who, tt.n)
		require.ErrorIs(t, err, tt.want, "%+v", tt.n)
	}
	_, err := w.Assume(ctx, first.root, NewSession{Role: roleARN(FirstTenant, "operator")})
	require.NoError(t, err)
	_, err = w.AssumeFederated(ctx, s.of[RoleReadOnly], NewSession{Role: role + "readonly"})
	require.NoError(t, err)
	_, err = w.AssumeFederated(ctx, s.of[RoleAdmin], NewSession{Role: role + "readonly"})
	require.ErrorIs(t, err, ErrDenied)
}

// A session ends with everything that it comes from.
func TestSessionsEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(w *world, s *staff, key Credentials) error
		want error
	}{
		"time": {func(w *world, _ *staff, _ Credentials) error {
			w.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
			return nil
		}, ErrExpired},
		"account disabled": {func(w *world, s *staff, _ Credentials) error {
			_, err := w.As(s.root).UpdateAccount(t.Context(), "readwrite", AccountChange{Disabled: new(true)})
			return err
		}, ErrBadToken},
		"account deleted": {func(w *world, s *staff, _ Credentials) error {
			return w.As(s.root).DeleteAccount(t.Context(), "readwrite")
		}, ErrBadToken},
		"caller disabled": {func(w *world, s *staff, _ Credentials) error {
			_, err := w.As(s.root).UpdateAccount(t.Context(), "admin", AccountChange{Disabled: new(true)})
			return err
		}, ErrBadToken},
		"caller's key gone": {func(w *world, s *staff, k Credentials) error {
			return w.As(s.root).DeleteAccessKey(t.Context(), k.AccessKey)
		}, ErrBadToken},
		"caller's key off": {func(w *world, s *staff, k Credentials) error {
			return w.DisableAccessKey(t.Context(), s.tenant.ID, k.AccessKey, true)
		}, ErrBadToken},
		"sessions ended": {func(w *world, s *staff, _ Credentials) error {
			return w.As(s.root).EndSessions(t.Context(), "readwrite")
		}, ErrBadToken},
		"tenant suspended": {func(w *world, s *staff, _ Credentials) error { return w.SetStatus(t.Context(), s.tenant.ID, Suspended) }, ErrSuspended},
		"made again": {func(w *world, s *staff, _ Credentials) error {
			require.NoError(t, w.As(s.root).DeleteAccount(t.Context(), "readwrite"))
			_, err := w.As(s.root).CreateAccount(t.Context(), "readwrite", NewAccount{})
			return err
		}, ErrBadToken},
	} {
		t.Run(name, func(t *testing.T) {
			w, ctx := newWorld(t), t.Context()
			s := newStaff(t, w, "acme")
			key, err := w.As(s.root).CreateAccessKey(ctx, "admin", time.Time{})
			require.NoError(t, err)
			_, admin, err := w.Authenticate(ctx, key.AccessKey, "")
			require.NoError(t, err)
			got, err := w.Assume(ctx, admin, NewSession{Role: roleARN(s.tenant.ID, "readwrite")})
			require.NoError(t, err)
			_, _, err = w.Authenticate(ctx, got.AccessKey, got.Token)
			require.NoError(t, err)
			require.NoError(t, tt.end(w, s, key))
			secrets, who, err := w.Authenticate(ctx, got.AccessKey, got.Token)
			require.ErrorIs(t, err, tt.want)
			require.Zero(t, who)
			require.NotContains(t, secrets, got.Secret)
		})
	}
}

func TestForgedSessionTokens(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	s, other := newStaff(t, w, "acme"), newStaff(t, w, "other")
	got, err := w.Assume(ctx, s.root, NewSession{})
	require.NoError(t, err)
	theirs, err := w.Assume(ctx, other.root, NewSession{})
	require.NoError(t, err)
	_, _, err = w.Authenticate(ctx, got.AccessKey, "")
	require.ErrorIs(t, err, ErrNoSuchKey, "without its token")
	for i := range len(got.Token) {
		forged := []byte(got.Token)
		forged[i] ^= 1
		_, _, err := w.Authenticate(ctx, got.AccessKey, string(forged))
		require.ErrorIs(t, err, ErrBadToken, "byte %d", i)
	}
	for _, bad := range []string{theirs.Token, got.Token + "A", got.Token[:len(got.Token)-1], "K3S1", "x", tokenPrefix + strings.Repeat("A", 100), strings.Repeat("A", 1<<20)} {
		_, _, err := w.Authenticate(ctx, got.AccessKey, bad)
		require.ErrorIs(t, err, ErrBadToken)
	}
	require.NotContains(t, string(w.dump(t)), got.Secret)
}

func FuzzSessionToken(f *testing.F) {
	w := newWorld(f)
	got, err := w.Assume(f.Context(), Root(FirstTenant), NewSession{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(got.Token)
	f.Add(tokenPrefix)
	f.Fuzz(func(t *testing.T, token string) {
		_, who, err := w.Authenticate(t.Context(), got.AccessKey, token)
		if err == nil && token != got.Token && token != "" || err != nil && who != (Principal{}) {
			t.Fatalf("%q: %v %v", token, who, err)
		}
	})
}

func FuzzTicket(f *testing.F) {
	k := ticket{accessKey: "K3T", secret: "s", name: "n", role: RoleAdmin, issued: time.Unix(1, 0), expires: time.Unix(2, 0), as: bond{"a", 1, 2}}
	f.Add(k.encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		if k, err := decodeTicket(1, raw); err == nil {
			again, err := decodeTicket(1, k.encode())
			require.NoError(t, err)
			require.Equal(t, k, again)
		}
	})
}
