package main

import (
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"k3fs/daemon"
)

// flagKeys maps the flags of serve to configuration keys.
var flagKeys = map[string]string{
	"data":       "data",
	"master-key": "master_key",
	"accounts":   "accounts",
	"s3":         "s3.listen",
	"region":     "s3.region",
	"tls":        "s3.tls",
	"domain":     "s3.domains",
	"admin":      "admin.listen",
	"mount":      "mount.point",
	"log-level":  "log.level",
	"log-format": "log.format",
}

func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "serve a data directory through the mount and S3",
		Long: `Serve a data directory through both doors, until SIGTERM or SIGINT.

Configuration comes from flags, then the environment (K3FS_DATA, and K3FS_SECTION__KEY for section.key),
then /etc/k3fs/conf.d/*.toml, then /etc/k3fs/k3fs.toml; docs/operating.md lists the keys.

K3FS_ROOT_ACCESS_KEY and K3FS_ROOT_SECRET_KEY set the root account's credentials (with _FILE behind the
name: a file that holds one; or the systemd credentials k3fs.root-access-key and k3fs.root-secret-key).
Without them credentials are made once, and kept in root-credentials in the data directory.`,
		Example: "  k3fs serve --data /var/lib/k3fs --mount /mnt/k3fs",
		Args:    noArgs,
	}
	f := cmd.Flags()
	file := serveFlags(f)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		load := func() (daemon.Config, error) {
			return daemon.Load(daemon.Sources{File: *file, Environ: os.Environ(), Flags: given(f)})
		}
		cfg, err := load()
		if err != nil {
			return err
		}
		if err := daemon.ForgetSecrets(); err != nil {
			return err
		}
		level := new(slog.LevelVar)
		log := daemon.NewLogger(cfg.Log, level, os.Stderr)
		daemon.FollowHangups(cmd.Context(), load, level, log)
		return daemon.Run(cmd.Context(), cfg, version, log)
	}
	return cmd
}

// serveFlags adds those that set the configuration, and returns the one that names its file.
func serveFlags(f *pflag.FlagSet) (file *string) {
	def := daemon.Defaults()
	file = f.String("config", "", "configuration file (default "+daemon.DefaultFile+", if it exists)")
	f.String("data", "", "directory of everything that k3fs stores")
	f.String("master-key", "", "file of the master key (default master.key in the data directory)")
	f.String("accounts", "", "file of accounts to make at the start")
	f.String("s3", def.S3.Listen, "address of the S3 endpoint; empty for none")
	f.String("region", def.S3.Region, "region that the S3 endpoint says it is")
	f.String("tls", "", `"self": speak TLS on the S3 endpoint, with a self-signed certificate kept in the data directory`)
	f.String("domain", "", "domain under which buckets are host names (bucket.DOMAIN); a comma between several")
	f.String("admin", def.Admin.Listen, "address of health, metrics and the admin API; empty for none")
	f.String("mount", "", "directory to mount at; empty for none")
	f.String("log-level", def.Log.Level, "debug, info, warn or error")
	f.String("log-format", def.Log.Format, "text, json, or auto: text on a terminal")
	return file
}

// given returns the flags on the command line, by configuration key.
func given(flags *pflag.FlagSet) map[string]any {
	values := map[string]any{}
	flags.Visit(func(f *pflag.Flag) {
		if key, ok := flagKeys[f.Name]; ok {
			values[key] = f.Value.String()
		}
	})
	return values
}
