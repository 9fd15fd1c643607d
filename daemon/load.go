package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// DefaultFile is the configuration file where none is named.
const DefaultFile = "/etc/k3fs/k3fs.toml"

// maxSecretFile bounds a file that holds one secret, in bytes.
const maxSecretFile = 4 << 10

// The secrets, by configuration key: the environment variable (also with _FILE behind it, naming a
// file) and the systemd credential that set them. Files and flags can't.
var secretSources = []struct{ key, env, credential string }{
	{"root.access_key", "K3FS_ROOT_ACCESS_KEY", "k3fs.root-access-key"},
	{"root.secret_key", "K3FS_ROOT_SECRET_KEY", "k3fs.root-secret-key"},
}

// masterCredential is the systemd credential that holds the master key file.
const masterCredential = "k3fs.master-key"

// Sources are where a configuration comes from. Later ones win: File, the *.toml in conf.d beside it by
// name, Environ, Flags.
type Sources struct {
	File    string         // a named file must exist; empty means DefaultFile, if it exists
	Environ []string       // as os.Environ
	Flags   map[string]any // by configuration key, only those that were given
}

// Load reads the configuration from its sources and validates it. Unknown keys are errors: a
// misspelled limit is not to go unnoticed. Errors are *ConfigError.
func Load(src Sources) (Config, error) {
	cfg, _, err := load(src)
	return cfg, err
}

// load is Load; what it returns beside says what was set, and where.
func load(src Sources) (Config, *settings, error) {
	cfg := Defaults()
	k := &settings{Koanf: koanf.New("."), from: map[string]string{}}
	env := environment(src.Environ)
	var failed [2]error
	cfg.master, failed[0] = masterFromEnv(env, "K3FS_MASTER_KEY")
	cfg.oldMaster, failed[1] = masterFromEnv(env, "K3FS_OLD_MASTER_KEY")
	if err := errors.Join(failed[0], failed[1], loadFiles(k, src.File), loadEnv(k, env), loadFlags(k, src.Flags), loadSecrets(k, env)); err != nil {
		return cfg, k, &ConfigError{err}
	}
	err := k.UnmarshalWithConf("", &cfg, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		Result: &cfg, WeaklyTypedInput: true, TagName: "koanf",
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToTimeDurationHookFunc(), mapstructure.StringToSliceHookFunc(","), mapstructure.TextUnmarshallerHookFunc()),
	}})
	if err != nil {
		return cfg, k, &ConfigError{err}
	}
	if cfg.MasterKey == "" && env["CREDENTIALS_DIRECTORY"] != "" {
		if path := filepath.Join(env["CREDENTIALS_DIRECTORY"], masterCredential); exists(path) {
			cfg.MasterKey = path
		}
	}
	return cfg, k, cfg.Validate()
}

// settings are what the sources say, and which of them said it last, by key.
type settings struct {
	*koanf.Koanf
	from map[string]string
}

// add takes what a source says. from names the source of each key.
func (s *settings) add(values map[string]any, from func(key string) string) error {
	for key := range values {
		s.from[key] = from(key)
	}
	return s.Load(confmap.Provider(values, "."), nil)
}

func loadFiles(k *settings, name string) error {
	named := name != ""
	if !named {
		name = DefaultFile
	}
	var files []string
	if named || exists(name) {
		files = append(files, name)
	}
	more, err := filepath.Glob(filepath.Join(filepath.Dir(name), "conf.d", "*.toml"))
	if err != nil {
		return err
	}
	slices.Sort(more)
	for _, f := range append(files, more...) {
		one := koanf.New(".")
		if err := one.Load(file.Provider(f), toml.Parser()); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		if err := checkKeys(one, f); err != nil {
			return err
		}
		if err := k.add(one.All(), func(string) string { return f }); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	return nil
}

// loadEnv takes K3FS_DATA, K3FS_MASTER_KEY, K3FS_ACCOUNTS, and K3FS_SECTION__KEY for section.key. Other variables that
// begin with K3FS_ are not for the daemon.
func loadEnv(k *settings, env map[string]string) error {
	values, names := map[string]any{}, map[string]string{}
	for name, value := range env {
		rest, ok := strings.CutPrefix(name, "K3FS_")
		if !ok || !strings.Contains(rest, "__") && !oneOf(rest, "DATA", "MASTER_KEY", "OLD_MASTER_KEY", "ACCOUNTS") {
			continue
		}
		key := strings.ToLower(strings.ReplaceAll(rest, "__", "."))
		if !known(key) {
			return unknownKey(key, "environment variable "+name)
		}
		values[key], names[key] = value, "environment variable "+name
	}
	return k.add(values, func(key string) string { return names[key] })
}

func loadFlags(k *settings, flags map[string]any) error {
	for key := range flags {
		if !known(key) {
			return unknownKey(key, "flags")
		}
	}
	return k.add(flags, func(string) string { return "command line" })
}

// loadSecrets reads each secret from its variable, else the file that its variable names, else the
// systemd credential.
func loadSecrets(k *settings, env map[string]string) error {
	values, names := map[string]any{}, map[string]string{}
	for _, s := range secretSources {
		direct, fileName, from := env[s.env], env[s.env+"_FILE"], "environment variable "+s.env
		if direct != "" && fileName != "" {
			return fmt.Errorf("both %s and %s_FILE are set; unset one", s.env, s.env)
		}
		if fileName == "" && env["CREDENTIALS_DIRECTORY"] != "" {
			if path := filepath.Join(env["CREDENTIALS_DIRECTORY"], s.credential); exists(path) {
				fileName = path
			}
		}
		if direct == "" && fileName != "" {
			text, err := readSecret(fileName)
			if err != nil {
				return fmt.Errorf("%s: %w", s.key, err)
			}
			direct, from = text, fileName
		}
		if direct != "" {
			values[s.key], names[s.key] = direct, from
		}
	}
	return k.add(values, func(key string) string { return names[key] })
}

func readSecret(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if info.Size() > maxSecretFile {
		return "", fmt.Errorf("%s has %d bytes: too long for a secret", name, info.Size())
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(raw))
	if text == "" {
		return "", fmt.Errorf("%s is empty", name)
	}
	return text, nil
}

func checkKeys(k *koanf.Koanf, where string) error {
	for _, key := range k.Keys() {
		if !known(key) {
			return unknownKey(key, where)
		}
	}
	return nil
}

func unknownKey(key, where string) error {
	for _, s := range secretSources {
		if key == s.key {
			return fmt.Errorf("%s: %s is a secret: set it by %s, %s_FILE or the systemd credential %s", where, key, s.env, s.env, s.credential)
		}
	}
	if near := nearest(key); near != "" {
		return fmt.Errorf("%s: unknown key %q; did you mean %q?", where, key, near)
	}
	return fmt.Errorf("%s: unknown key %q; 'k3fs serve --help' and docs/operating.md list them", where, key)
}

// Keys returns every configuration key that files, flags and environment may set, sorted.
func Keys() []string {
	keys := keysOf(reflect.TypeFor[Config](), "")
	slices.Sort(keys)
	return slices.DeleteFunc(keys, func(key string) bool {
		return slices.ContainsFunc(secretSources, func(s struct{ key, env, credential string }) bool { return s.key == key })
	})
}

func keysOf(t reflect.Type, prefix string) (keys []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Tag.Get("koanf") == "" {
			continue
		}
		name := prefix + f.Tag.Get("koanf")
		if f.Type.Kind() == reflect.Struct {
			keys = append(keys, keysOf(f.Type, name+".")...)
			continue
		}
		keys = append(keys, name)
	}
	return keys
}

func known(key string) bool { return slices.Contains(Keys(), key) }

// nearest returns the known key that differs from key by little, or "".
func nearest(key string) string {
	best, least := "", 3
	for _, k := range Keys() {
		if d := distance(key, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is Levenshtein's, by two rows.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func environment(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		env[name] = value
	}
	return env
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
