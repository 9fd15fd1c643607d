package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"k3fs/tenancy"

	"k3fs/daemon/control"
)

// Size is a number of bytes, written in configuration as "256MiB" or a plain number.
type Size int64

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(string(text))
	if err != nil || n > 1<<62 {
		return fmt.Errorf("%q is no size: write 512MiB, 2GiB or a number of bytes", text)
	}
	*s = Size(n)
	return nil
}

// MarshalText writes a size.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String returns a size as a person writes it.
func (s Size) String() string { return strings.ReplaceAll(humanize.IBytes(uint64(max(s, 0))), " ", "") }

// Config is what a daemon is told. Keys are those of the TOML file; flags, environment and defaults are
// in Load. A Config prints without its secrets.
type Config struct {
	// Data is the directory of everything that k3fs stores. Required.
	Data string `koanf:"data"`
	// MasterKey is the file of the master key; default master.key in Data. Keep a copy elsewhere.
	MasterKey string `koanf:"master_key"`
	// OldMasterKey is the file of the master key of before, where another took its place since the last start.
	OldMasterKey string `koanf:"old_master_key"`
	// Accounts is a file of accounts to make at the start; empty means none.
	Accounts string `koanf:"accounts"`
	// Issuers is a file of identity providers whose tokens are taken; empty means none.
	Issuers string `koanf:"issuers"`

	Log     LogConfig     `koanf:"log"`
	S3      S3Config      `koanf:"s3"`
	Mount   MountConfig   `koanf:"mount"`
	Admin   AdminConfig   `koanf:"admin"`
	Control ControlConfig `koanf:"control"`
	Limits  LimitsConfig  `koanf:"limits"`
	Locks   LocksConfig   `koanf:"locks"`
	Backup  BackupConfig  `koanf:"backup"`
	Trace   TraceConfig   `koanf:"trace"`
	Root    RootConfig    `koanf:"root"`

	KeyService KeyServiceConfig `koanf:"key_service"`

	master, oldMaster *tenancy.Master // from the environment; nil: they are in files
}

// LogConfig says what is logged, to standard error.
type LogConfig struct {
	Level  string `koanf:"level"`  // debug, info, warn or error
	Format string `koanf:"format"` // text, json, or auto: text on a terminal

	Slow time.Duration `koanf:"slow"` // requests that take this long are told of; 0: none
}

// S3Config is the S3 endpoint.
type S3Config struct {
	Listen string `koanf:"listen"` // host:port; empty means no S3 door
	Region string `koanf:"region"`

	ReadHeaderTimeout time.Duration `koanf:"read_header_timeout"`
	IdleTimeout       time.Duration `koanf:"idle_timeout"`  // of a connection between requests
	StallTimeout      time.Duration `koanf:"stall_timeout"` // a body must move within this
	MaxHeader         Size          `koanf:"max_header"`
	MaxConnections    int           `koanf:"max_connections"`

	Domains         []string `koanf:"domains"`          // under which buckets are host names
	WebsiteDomains  []string `koanf:"website_domains"`  // under which buckets are websites
	SignatureV2     bool     `koanf:"signature_v2"`     // take requests signed by the old version too
	ObjectOwnership string   `koanf:"object_ownership"` // of buckets made without saying

	LifecycleDay time.Duration `koanf:"lifecycle_day"` // how long a day of a lifecycle rule is
	StaleUploads time.Duration `koanf:"stale_uploads"` // when an upload is given up that no rule is about; 0 never

	TLS     string `koanf:"tls"`      // "self": make a self-signed certificate
	TLSCert string `koanf:"tls_cert"` // files in PEM
	TLSKey  string `koanf:"tls_key"`

	AccessLog       string `koanf:"access_log"`        // file, or "-" for standard output; empty means none
	AccessLogFormat string `koanf:"access_log_format"` // s3 or json
}

// MountConfig is the POSIX mount.
type MountConfig struct {
	Point       string `koanf:"point"` // directory; empty means no mount
	AllowOther  bool   `koanf:"allow_other"`
	ReadOnly    bool   `koanf:"read_only"`
	SyncOnClose bool   `koanf:"sync_on_close"`
	NoAtime     bool   `koanf:"noatime"` // reading leaves access times alone

	// WriteBack lets the kernel gather small writes of this mount, which is fast and not coherent with other
	// mounts of the same files (fusefs.Options.WriteThrough).
	WriteBack bool `koanf:"writeback"`
	// Accounts is a file that says as which account each user of the host acts in this mount (control.ParseAccounts).
	// WriteBack is then off. Empty: as the first tenant's root account.
	Accounts string `koanf:"accounts"`
	// RootSquash makes root somebody else in this mount: AnonUID and AnonGID.
	RootSquash bool   `koanf:"root_squash"`
	AnonUID    uint32 `koanf:"anonuid"`
	AnonGID    uint32 `koanf:"anongid"`

	// UserAllowOther lets callers of "k3fs mount" who aren't root use allow_other.
	UserAllowOther bool `koanf:"user_allow_other"`
}

// BackupConfig says where backups go.
type BackupConfig struct {
	Dir string `koanf:"dir"` // directory in which backups are made; empty: none are
}

// AdminConfig is the listener of metrics, health and the admin API. Profiles are on its socket alone.
type AdminConfig struct {
	Listen string `koanf:"listen"` // host:port; empty means none
	// Socket is a path that all users of the host may reach; empty means that only the socket in the data
	// directory is there.
	Socket string `koanf:"socket"`

	TLS      string `koanf:"tls"`      // "self": make a self-signed certificate
	TLSCert  string `koanf:"tls_cert"` // files in PEM
	TLSKey   string `koanf:"tls_key"`
	ClientCA string `koanf:"client_ca"` // file in PEM: who signs the certificates that clients need (mTLS)
}

// ControlConfig is the socket that asks for mounts ("k3fs mount").
type ControlConfig struct {
	// Listen is a path that all users of the host may reach; empty means that only the socket in the data
	// directory is there.
	Listen string `koanf:"listen"`
}

// LimitsConfig bounds what the daemon takes of its host.
type LimitsConfig struct {
	Memory       Size          `koanf:"memory"`        // the Go heap's soft limit; a lower one of the cgroup wins
	FreeSpace    Size          `koanf:"free_space"`    // writes are refused below it
	StopDeadline time.Duration `koanf:"stop_deadline"` // from SIGTERM to exit
}

// RootConfig holds the root account's credentials: both or none. Only the environment, files named
// there, and systemd credentials set them.
type RootConfig struct {
	AccessKey string `koanf:"access_key"`
	SecretKey string `koanf:"secret_key"`
}

// String hides the secret.
func (r RootConfig) String() string { return fmt.Sprintf("{%s hidden}", r.AccessKey) }

// GoString hides the secret.
func (r RootConfig) GoString() string { return r.String() }

// Defaults is the configuration where nothing else is said.
func Defaults() Config {
	return Config{
		Log: LogConfig{Level: "info", Format: "auto", Slow: time.Second},
		S3: S3Config{
			Listen: "127.0.0.1:9000", Region: "us-east-1",
			ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, StallTimeout: time.Minute,
			MaxHeader: 64 << 10, MaxConnections: 32768, AccessLogFormat: "s3",
			ObjectOwnership: string(tenancy.OwnerEnforced), LifecycleDay: 24 * time.Hour,
		},
		Mount:      MountConfig{AllowOther: true, WriteBack: true, AnonUID: nobodyID, AnonGID: nobodyID},
		Admin:      AdminConfig{Listen: "127.0.0.1:9001", Socket: control.AdminSocket},
		Control:    ControlConfig{Listen: control.Socket},
		Limits:     LimitsConfig{Memory: 352 << 20, StopDeadline: 9 * time.Second},
		KeyService: KeyServiceConfig{Life: 10 * time.Minute},
		Locks:      LocksConfig{MaxRetention: 200 * 366 * 24 * time.Hour, MaxJump: 25 * time.Hour, MaxOff: 30 * 24 * time.Hour},
	}
}

// ConfigError is a configuration that can't be used; the command exits with 78 (EX_CONFIG).
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return "configuration: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// Validate fills in what follows from the rest, and says everything that is wrong, each with the key to
// change. Its error is a *ConfigError.
func (c *Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	c.validatePaths(bad)
	c.validateListeners(bad)
	if _, err := c.Log.level(); err != nil {
		bad("log.level", "%q is not debug, info, warn or error", c.Log.Level)
	}
	if !oneOf(c.Log.Format, "auto", "text", "json") {
		bad("log.format", "%q is not auto, text or json", c.Log.Format)
	}
	if c.Log.Slow < 0 {
		bad("log.slow", "must not be negative; 0 tells of no slow request")
	}
	c.validateS3(bad)
	c.Locks.validate(bad)
	c.KeyService.validate(bad)
	c.Admin.validate(bad)
	c.Trace.validate(bad)
	for key, d := range map[string]time.Duration{
		"s3.read_header_timeout": c.S3.ReadHeaderTimeout, "s3.idle_timeout": c.S3.IdleTimeout,
		"s3.stall_timeout": c.S3.StallTimeout, "s3.lifecycle_day": c.S3.LifecycleDay, "limits.stop_deadline": c.Limits.StopDeadline,
	} {
		if d <= 0 {
			bad(key, "must be over 0 (such as \"10s\")")
		}
	}
	if c.Limits.Memory < 128<<20 {
		bad("limits.memory", "%s is under 128MiB, the least k3fs runs well with", c.Limits.Memory)
	}
	if (c.Root.AccessKey == "") != (c.Root.SecretKey == "") {
		bad("root", "give both K3FS_ROOT_ACCESS_KEY and K3FS_ROOT_SECRET_KEY, or neither")
	}
	if len(errs) > 0 {
		return &ConfigError{errors.Join(errs...)}
	}
	return nil
}

func (c *Config) validatePaths(bad func(key, format string, args ...any)) {
	if c.Data == "" {
		bad("data", "no data directory: give --data DIR, K3FS_DATA or data = \"DIR\"")
		return
	}
	abs := func(key string, path *string) {
		p, err := filepath.Abs(*path)
		if err != nil {
			bad(key, "%v", err)
		}
		*path = p
	}
	abs("data", &c.Data)
	if c.MasterKey == "" {
		c.MasterKey = filepath.Join(c.Data, "master.key")
	}
	abs("master_key", &c.MasterKey)
	if c.OldMasterKey != "" {
		abs("old_master_key", &c.OldMasterKey)
	}
	if c.Control.Listen != "" {
		abs("control.listen", &c.Control.Listen)
	}
	if c.Admin.Socket != "" {
		abs("admin.socket", &c.Admin.Socket)
	}
	if c.Backup.Dir != "" {
		abs("backup.dir", &c.Backup.Dir)
		if within(c.Backup.Dir, c.Data) {
			bad("backup.dir", "%s is in the data directory %s: a backup belongs elsewhere", c.Backup.Dir, c.Data)
		}
	}
	if c.Mount.Point == "" {
		return
	}
	abs("mount.point", &c.Mount.Point)
	if c.Mount.Accounts != "" {
		abs("mount.accounts", &c.Mount.Accounts)
	}
	if c.Mount.RootSquash && (c.Mount.AnonUID == 0 || c.Mount.AnonGID == 0) {
		bad("mount.anonuid", "neither it nor mount.anongid can be root")
	}
	if within(c.Data, c.Mount.Point) || within(c.Mount.Point, c.Data) {
		bad("mount.point", "%s and the data directory %s must not contain each other", c.Mount.Point, c.Data)
	}
}

func (c *Config) validateListeners(bad func(key, format string, args ...any)) {
	if c.S3.Listen == "" && c.Mount.Point == "" {
		bad("s3.listen", "neither an S3 address nor a mount point is given, so there is nothing to serve")
	}
	for key, addr := range map[string]string{"s3.listen": c.S3.Listen, "admin.listen": c.Admin.Listen} {
		if addr == "" {
			continue
		}
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			bad(key, "%q is not host:port (such as 127.0.0.1:9000)", addr)
			continue
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil {
			bad(key, "%q has no port number", addr)
		} else if n != 0 && key == "admin.listen" && addr == c.S3.Listen {
			bad(key, "%s is already the S3 address", addr)
		}
	}
}

func (c *Config) validateS3(bad func(key, format string, args ...any)) {
	s := &c.S3
	if s.MaxHeader < 8<<10 || s.MaxHeader > 16<<20 {
		bad("s3.max_header", "%s is not within 8KiB and 16MiB", s.MaxHeader)
	}
	if s.MaxConnections < 1 {
		bad("s3.max_connections", "must be at least 1")
	}
	for key, domains := range map[string][]string{"s3.domains": s.Domains, "s3.website_domains": s.WebsiteDomains} {
		for _, d := range domains {
			if host := strings.TrimPrefix(d, "*."); host == "" || strings.ContainsAny(host, "*/: ") {
				bad(key, "%q is no domain (such as s3.example.com)", d)
			}
		}
	}
	if !oneOf(s.ObjectOwnership, string(tenancy.OwnerEnforced), string(tenancy.OwnerPreferred), string(tenancy.ObjectWriter), string(tenancy.NoOwnership)) {
		bad("s3.object_ownership", "%q is not BucketOwnerEnforced, BucketOwnerPreferred, ObjectWriter or none", s.ObjectOwnership)
	}
	validateTLS(bad, "s3", s.TLS, s.TLSCert, s.TLSKey)
	if !oneOf(s.AccessLogFormat, "s3", "json") {
		bad("s3.access_log_format", "%q is not s3 or json", s.AccessLogFormat)
	}
}

// validateTLS checks the keys of a section that say which certificate a listener has.
func validateTLS(bad func(key, format string, args ...any), section, own, cert, key string) {
	if !oneOf(own, "", selfSigned) {
		bad(section+".tls", "%q is not \"self\"; for a certificate of your own give %[2]s.tls_cert and %[2]s.tls_key", own, section)
	}
	if (cert == "") != (key == "") || own != "" && cert != "" {
		bad(section+".tls", "give either %[1]s.tls = \"self\", or both %[1]s.tls_cert and %[1]s.tls_key", section)
	}
}

func (c *AdminConfig) validate(bad func(key, format string, args ...any)) {
	validateTLS(bad, "admin", c.TLS, c.TLSCert, c.TLSKey)
	if c.ClientCA != "" && c.TLS == "" && c.TLSCert == "" {
		bad("admin.client_ca", "certificates of clients need TLS: give admin.tls or admin.tls_cert")
	}
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func oneOf(s string, all ...string) bool {
	for _, a := range all {
		if s == a {
			return true
		}
	}
	return false
}

func (c LogConfig) level() (slog.Level, error) {
	var l slog.Level
	if !oneOf(strings.ToLower(c.Level), "debug", "info", "warn", "error") {
		return l, fmt.Errorf("unknown level %q", c.Level)
	}
	return l, l.UnmarshalText([]byte(c.Level))
}
