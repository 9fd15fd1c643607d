package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// etc lays out configuration files and returns the path of k3fs.toml among them.
func etc(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return filepath.Join(dir, "k3fs.toml")
}

func TestLoadPrecedence(t *testing.T) {
	file := etc(t, map[string]string{
		"k3fs.toml":        "data = '/file'\n[s3]\nregion = 'file'\nidle_timeout = '11s'\nmax_header = '32KiB'\n[log]\nlevel = 'warn'\n",
		"conf.d/10-a.toml": "[s3]\nregion = 'conf-a'\n[admin]\nlisten = '127.0.0.1:1'\n[mount]\nallow_other = false\n",
		"conf.d/20-b.toml": "[s3]\nregion = 'conf-b'\n[limits]\nmemory = '300MiB'\n",
		"conf.d/ignored":   "this is no toml",
	})
	cfg, err := Load(Sources{File: file,
		Environ: []string{"K3FS_S3__REGION=env", "K3FS_LIMITS__FREE_SPACE=1GiB", "K3FS_ADMIN__LISTEN=127.0.0.1:2",
			"K3FS_BIN=/not/for/us", "K3FS_E2E=long", "HOME=/root"},
		Flags: map[string]any{"admin.listen": "127.0.0.1:3"},
	})
	require.NoError(t, err)
	want := Defaults()
	want.Data, want.MasterKey = "/file", "/file/master.key"
	want.S3.Region, want.S3.IdleTimeout, want.S3.MaxHeader = "env", 11*time.Second, 32<<10
	want.Log.Level, want.Admin.Listen, want.Mount.AllowOther = "warn", "127.0.0.1:3", false
	want.Limits.Memory, want.Limits.FreeSpace = 300<<20, 1<<30
	require.Equal(t, want, cfg)
}

func TestLoadDefaultsListenOnLoopbackOnly(t *testing.T) {
	cfg, err := Load(Sources{File: etc(t, map[string]string{"k3fs.toml": ""}), Flags: map[string]any{"data": "/data"}})
	require.NoError(t, err)
	for _, addr := range []string{cfg.S3.Listen, cfg.Admin.Listen} {
		require.True(t, strings.HasPrefix(addr, "127.0.0.1:"), addr)
	}
}

func TestLoadSecrets(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	credentials := filepath.Join(dir, "credentials")
	require.NoError(t, os.Mkdir(credentials, 0o700))
	write("credentials/k3fs.root-access-key", "CREDENTIAL\n")
	write("credentials/k3fs.root-secret-key", "credential-secret\n")
	key := write("credentials/k3fs.master-key", "irrelevant here")
	for _, tt := range []struct {
		name    string
		environ []string
		want    RootConfig
		says    string // of an error
	}{
		{"none", nil, RootConfig{}, ""},
		{"variables", []string{"K3FS_ROOT_ACCESS_KEY=AK", "K3FS_ROOT_SECRET_KEY=sk"}, RootConfig{"AK", "sk"}, ""},
		{"file", []string{"K3FS_ROOT_ACCESS_KEY=AK", "K3FS_ROOT_SECRET_KEY_FILE=" + write("s", "from file\n")}, RootConfig{"AK", "from file"}, ""},
		{"credentials", []string{"CREDENTIALS_DIRECTORY=" + credentials}, RootConfig{"CREDENTIAL", "credential-secret"}, ""},
		{"variable over credential", []string{"CREDENTIALS_DIRECTORY=" + credentials, "K3FS_ROOT_ACCESS_KEY=AK", "K3FS_ROOT_SECRET_KEY=sk"}, RootConfig{"AK", "sk"}, ""},
		{"half", []string{"K3FS_ROOT_ACCESS_KEY=AK"}, RootConfig{}, "or neither"},
		{"twice", []string{"K3FS_ROOT_ACCESS_KEY=AK", "K3FS_ROOT_SECRET_KEY=sk", "K3FS_ROOT_SECRET_KEY_FILE=/x"}, RootConfig{}, "unset one"},
		{"missing file", []string{"K3FS_ROOT_ACCESS_KEY=AK", "K3FS_ROOT_SECRET_KEY_FILE=" + dir + "/none"}, RootConfig{}, "no such file"},
		{"empty file", []string{"K3FS_ROOT_ACCESS_KEY=AK", "K3FS_ROOT_SECRET_KEY_FILE=" + write("e", "\n")}, RootConfig{}, "is empty"},
		{"long file", []string{"K3FS_ROOT_ACCESS_KEY=AK", "K3FS_ROOT_SECRET_KEY_FILE=" + write("l", strings.Repeat("x", 5000))}, RootConfig{}, "too long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := Load(Sources{File: etc(t, map[string]string{"k3fs.toml": "data = '/data'"}), Environ: tt.environ})
			if tt.says != "" {
				require.ErrorContains(t, err, tt.says)
				require.ErrorAs(t, err, new(*ConfigError))
				require.NotContains(t, err.Error(), "sk ")
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, cfg.Root)
			if tt.name == "credentials" {
				require.Equal(t, key, cfg.MasterKey)
			}
			if cfg.Root.SecretKey != "" {
				require.NotContains(t, fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg), cfg.Root.SecretKey)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		toml string
		env  []string
		flag map[string]any
		says string
	}{
		{"unknown key", "[s3]\nlisen = 'x'", nil, nil, `did you mean "s3.listen"?`},
		{"unknown section", "[ftp]\nlisten = 'x'", nil, nil, `unknown key "ftp.listen"`},
		{"unknown variable", "", []string{"K3FS_S3__REGIO=x"}, nil, `environment variable K3FS_S3__REGIO: unknown key "s3.regio"; did you mean "s3.region"?`},
		{"unknown flag", "", nil, map[string]any{"nonsense": 1}, "unknown key"},
		{"secret in a file", "[root]\nsecret_key = 'hush'", nil, nil, "set it by K3FS_ROOT_SECRET_KEY"},
		{"secret in a section variable", "", []string{"K3FS_ROOT__SECRET_KEY=hush"}, nil, "set it by K3FS_ROOT_SECRET_KEY"},
		{"no toml", "this is = = no toml", nil, nil, "k3fs.toml"},
		{"no data", "data = ''", nil, nil, "--data DIR"},
		{"no duration", "[s3]\nidle_timeout = 'soon'", nil, nil, "idle_timeout"},
		{"negative duration", "[s3]\nidle_timeout = '-1s'", nil, nil, "s3.idle_timeout: must be over 0"},
		{"no size", "[limits]\nmemory = 'much'", nil, nil, "is no size"},
		{"too little memory", "[limits]\nmemory = '1MiB'", nil, nil, "limits.memory: 1.0MiB is under 128MiB"},
		{"huge header", "[s3]\nmax_header = '1GiB'", nil, nil, "s3.max_header"},
		{"TLS twice", "[s3]\ntls = 'self'\ntls_cert = 'a'\ntls_key = 'b'", nil, nil, "s3.tls"},
		{"half a certificate", "[s3]\ntls_cert = 'a'", nil, nil, "s3.tls"},
		{"no domain", "[s3]\ndomains = ['*']", nil, nil, "s3.domains"},
		{"access log", "[s3]\naccess_log_format = 'clf'", nil, nil, "s3.access_log_format"},
		{"no connections", "[s3]\nmax_connections = 0", nil, nil, "s3.max_connections"},
		{"level", "[log]\nlevel = 'loud'", nil, nil, "log.level"},
		{"format", "[log]\nformat = 'xml'", nil, nil, "log.format"},
		{"admin TLS", "[admin]\ntls = 'maybe'", nil, nil, "admin.tls"},
		{"clients without TLS", "[admin]\nclient_ca = 'ca.pem'", nil, nil, "admin.client_ca"},
		{"address", "[s3]\nlisten = 'localhost'", nil, nil, "is not host:port"},
		{"port", "[s3]\nlisten = 'localhost:http'", nil, nil, "has no port number"},
		{"same address", "[s3]\nlisten = '127.0.0.1:9001'", nil, nil, "already the S3 address"},
		{"nothing to serve", "[s3]\nlisten = ''", nil, nil, "nothing to serve"},
		{"mount in data", "[mount]\npoint = '/data/mnt'", nil, nil, "must not contain each other"},
		{"data in mount", "[mount]\npoint = '/'", nil, nil, "must not contain each other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.toml
			if !strings.HasPrefix(text, "data") && !strings.HasPrefix(text, "this") {
				text = "data = '/data'\n" + text
			}
			_, err := Load(Sources{File: etc(t, map[string]string{"k3fs.toml": text}), Environ: tt.env, Flags: tt.flag})
			require.ErrorContains(t, err, tt.says)
			require.ErrorAs(t, err, new(*ConfigError))
			require.NotContains(t, err.Error(), "hush")
		})
	}
	_, err := Load(Sources{File: "/no/such/file.toml"})
	require.ErrorAs(t, err, new(*ConfigError))
}

// Every key is in the manual, and the manual has no others.
func TestTheManualListsEveryKey(t *testing.T) {
	text, err := os.ReadFile("../docs/operating.md")
	require.NoError(t, err)
	var listed []string
	for _, line := range strings.Split(string(text), "\n") {
		if key, ok := strings.CutPrefix(line, "| `"); ok && strings.Contains(line, "` | `") {
			key, _, _ = strings.Cut(key, "`")
			listed = append(listed, key)
		}
	}
	require.ElementsMatch(t, Keys(), listed)
}

func FuzzSize(f *testing.F) {
	f.Add("512MiB")
	f.Add("1e30GB")
	f.Add("-1")
	f.Fuzz(func(t *testing.T, text string) {
		var s Size
		if s.UnmarshalText([]byte(text)) == nil {
			require.GreaterOrEqual(t, s, Size(0))
			require.NotEmpty(t, s.String())
		}
	})
}
