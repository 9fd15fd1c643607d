package daemon

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/metastore"
	"k3fs/namespace"
	"k3fs/tenancy"
)

func keyConfig(t *testing.T, environ ...string) Config {
	cfg, err := Load(Sources{File: "/dev/null", Environ: append(environ, "K3FS_DATA="+filepath.Join(t.TempDir(), "data"))})
	require.NoError(t, err)
	return cfg
}

func openKeys(t *testing.T, cfg Config) (*stores, error) {
	s, err := openStores(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Cleanup(func() { _ = s.close() })
	}
	return s, err
}

func masterText(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "key")
	_, err := tenancy.CreateMaster(path)
	require.NoError(t, err)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return strings.TrimSpace(string(raw))
}

// TestMasterSources opens a store with the master key in each place that it may be in, and changes it.
func TestMasterSources(t *testing.T) {
	text, other := masterText(t), masterText(t)
	cfg := keyConfig(t, "K3FS_MASTER_KEY="+text)
	require.NotContains(t, strings.Join(Keys(), " "), "master  ")
	s, err := openKeys(t, cfg)
	require.NoError(t, err)
	c, err := s.tenancy.EnsureRoot(t.Context(), "", "")
	require.NoError(t, err)
	require.NoError(t, s.close())
	require.NoFileExists(t, filepath.Join(cfg.Data, "master.key"))

	environ := func(vars ...string) Config {
		next, err := Load(Sources{File: "/dev/null", Environ: append(vars, "K3FS_DATA="+cfg.Data)})
		require.NoError(t, err)
		return next
	}
	_, err = openKeys(t, environ())
	require.ErrorContains(t, err, "restore the key from your copy")
	_, err = openKeys(t, environ("K3FS_MASTER_KEY="+other))
	require.ErrorIs(t, err, tenancy.ErrWrongKey)
	_, err = Load(Sources{File: "/dev/null", Environ: []string{"K3FS_DATA=/x", "K3FS_MASTER_KEY=" + text, "K3FS_MASTER_KEY_FILE=/y"}})
	require.ErrorContains(t, err, "unset one")
	_, err = Load(Sources{File: "/dev/null", Environ: []string{"K3FS_DATA=/x", "K3FS_MASTER_KEY=" + text[:40]}})
	require.Error(t, err)
	require.NotContains(t, err.Error(), text[20:40])

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte(text+"\n"), 0o600))
	for _, next := range []Config{environ("K3FS_MASTER_KEY_FILE=" + file), environ("K3FS_MASTER_KEY=" + file)} {
		s, err = openKeys(t, next)
		require.NoError(t, err)
		require.NoError(t, s.close())
	}

	for _, next := range []Config{environ("K3FS_MASTER_KEY="+other, "K3FS_OLD_MASTER_KEY="+text), environ("K3FS_MASTER_KEY=" + other)} {
		s, err = openKeys(t, next)
		require.NoError(t, err)
		again, err := s.tenancy.EnsureRoot(t.Context(), "", "")
		require.NoError(t, err)
		require.Equal(t, c, again)
		require.NoError(t, s.close())
	}
	_, err = openKeys(t, environ("K3FS_MASTER_KEY="+text))
	require.ErrorIs(t, err, tenancy.ErrWrongKey, "the old key opens nothing any more")
}

// TestForgetSecrets: the environment has no secret left; e2e/plaintext looks at what the kernel shows of it.
func TestForgetSecrets(t *testing.T) {
	text := masterText(t)
	t.Setenv("K3FS_MASTER_KEY", text)
	t.Setenv("K3FS_ROOT_SECRET_KEY", "a secret that is one")
	t.Setenv("K3FS_OLD_MASTER_KEY", "/a/file")
	cfg, err := Load(Sources{File: "/dev/null", Environ: append(os.Environ(), "K3FS_ROOT_ACCESS_KEY=key", "K3FS_DATA=/x")})
	require.NoError(t, err)
	require.NoError(t, ForgetSecrets())
	require.Equal(t, "a secret that is one", cfg.Root.SecretKey)
	require.NotNil(t, cfg.master)
	require.Equal(t, "/a/file", os.Getenv("K3FS_OLD_MASTER_KEY"))
	require.Empty(t, os.Getenv("K3FS_MASTER_KEY"))
	require.Empty(t, os.Getenv("K3FS_ROOT_SECRET_KEY"))
}

// TestRotateMasterOnLine changes the master key of a daemon that runs, and starts it again with what is in the file.
func TestRotateMasterOnLine(t *testing.T) {
	cfg := keyConfig(t)
	s, err := openKeys(t, cfg)
	require.NoError(t, err)
	before, err := os.ReadFile(cfg.MasterKey)
	require.NoError(t, err)
	fresh, err := tenancy.NewMaster()
	require.NoError(t, err)
	require.NoError(t, s.tenancy.RotateNodeKeys(t.Context(), tenancy.NodeRotation{Path: s.locked.path, Old: s.locked.lock, New: fresh,
		Replace: func() error { return fresh.Replace(cfg.MasterKey) }}))
	require.NoError(t, s.close())
	after, err := os.ReadFile(cfg.MasterKey)
	require.NoError(t, err)
	require.NotEqual(t, before, after)
	s, err = openKeys(t, cfg)
	require.NoError(t, err)
	require.NoError(t, s.close())
}

// TestRotationBreaksOff: when the file has a new master key, that is the lock from then on, for the next rotation and for
// backups, although not everything could be sealed anew.
func TestRotationBreaksOff(t *testing.T) {
	cfg := keyConfig(t)
	s, err := openKeys(t, cfg)
	require.NoError(t, err)
	_, err = s.tenancy.EnsureRoot(t.Context(), "", "")
	require.NoError(t, err)
	d := &Daemon{cfg: cfg, log: slog.New(slog.DiscardHandler), stores: s}
	d.ns, err = namespace.Open(t.Context(), namespace.Options{KV: s.kv, Chunks: s.chunks, Authority: s.tenancy, Keys: s.tenancy, Logger: d.log, Now: time.Now})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.ns.Close(context.Background())) })
	require.NoError(t, s.kv.Update(t.Context(), metastore.Durable, func(txn metastore.Txn) error {
		return txn.Set([]byte("tcDAMAGED"), []byte{0xff}) // a credential that does not decode
	}))
	before := s.locked.lock.Name()

	require.Error(t, d.RotateNodeKeys(t.Context(), tenancy.Root(tenancy.FirstTenant)))
	raw, err := os.ReadFile(cfg.MasterKey)
	require.NoError(t, err)
	master, err := tenancy.ParseMaster(raw)
	require.NoError(t, err)
	require.NotEqual(t, before, master.Name())
	require.Equal(t, master.Name(), s.locked.lock.Name())
	_, err = tenancy.LoadNodeKeys(t.Context(), s.locked.path, s.locked.lock)
	require.NoError(t, err)
}
