package control

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"k3fs/fusefs"
)

// Options are those of a mount that the daemon acts on.
type Options struct {
	ReadOnly    bool           `json:",omitempty"`
	AllowOther  bool           `json:",omitempty"`
	SyncOnClose bool           `json:",omitempty"`
	WriteBack   bool           `json:",omitempty"` // the kernel gathers small writes
	Suid        bool           `json:",omitempty"`
	Dev         bool           `json:",omitempty"`
	Flags       uint64         `json:",omitempty"` // MS_* of mount(2)
	Entry       *time.Duration `json:",omitempty"` // how long names are cached; nil: as long as they are true
	Attr        *time.Duration `json:",omitempty"` // how long attributes are
	Owners      fusefs.Owners  `json:",omitzero"`

	Accounts   *Accounts `json:",omitempty"` // as whom users of the host act; nil: as who mounts
	RootSquash *bool     `json:",omitempty"` // root is somebody else; nil: unless who mounts has the permission
	AnonUID    *uint32   `json:",omitempty"` // who root then is; nil: 65534
	AnonGID    *uint32   `json:",omitempty"`
}

// Local are options that the client keeps to itself.
type Local struct {
	Socket      string // of the daemon
	Credentials string // file that holds access key and secret key
	AccessKey   string
	SecretKey   string
	Accounts    string // file that holds a table of accounts
}

// passable are the flags that a request may set.
const passable = unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME | unix.MS_STRICTATIME |
	unix.MS_LAZYTIME | unix.MS_SYNCHRONOUS | unix.MS_DIRSYNC

// flags are the options that set or clear one of mount(2)'s.
var flags = map[string]struct{ set, clear uint64 }{
	"noexec": {set: unix.MS_NOEXEC}, "exec": {clear: unix.MS_NOEXEC},
	"noatime":    {set: unix.MS_NOATIME, clear: unix.MS_RELATIME | unix.MS_STRICTATIME},
	"relatime":   {set: unix.MS_RELATIME, clear: unix.MS_NOATIME | unix.MS_STRICTATIME},
	"norelatime": {clear: unix.MS_RELATIME}, "atime": {clear: unix.MS_NOATIME},
	"strictatime": {set: unix.MS_STRICTATIME, clear: unix.MS_NOATIME | unix.MS_RELATIME},
	"nodiratime":  {set: unix.MS_NODIRATIME}, "diratime": {clear: unix.MS_NODIRATIME},
	"lazytime": {set: unix.MS_LAZYTIME}, "nolazytime": {clear: unix.MS_LAZYTIME},
	"sync": {set: unix.MS_SYNCHRONOUS}, "async": {clear: unix.MS_SYNCHRONOUS}, "dirsync": {set: unix.MS_DIRSYNC},
}

// ignored are options for mount(8), systemd and others than us, and those that say what is so anyway.
var ignored = map[string]bool{
	"defaults": true, "auto": true, "noauto": true, "user": true, "nouser": true, "users": true, "owner": true,
	"group": true, "_netdev": true, "nofail": true, "default_permissions": true, "nonempty": true, "silent": true, "loud": true,
}

// ParseOptions reads the list behind -o, as mount(8) does; the last word on a thing counts. With sloppy set,
// options that it does not know are passed over.
func ParseOptions(list string, sloppy bool) (o Options, l Local, err error) {
	p := parser{o: &o, l: &l}
	for _, word := range strings.Split(list, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(word), "=")
		if name == "" || ignored[name] || strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-") || name == "comment" {
			continue
		}
		known, err := p.option(name, value)
		if err != nil {
			return o, l, fmt.Errorf("option %s: %w", redacted(name, value), err)
		}
		if !known && !sloppy {
			return o, l, fmt.Errorf("unknown option %q: docs/operating.md lists them", redacted(name, value))
		}
	}
	p.masks()
	return o, l, o.Owners.Validate()
}

// redacted is the option as it may be shown.
func redacted(name, value string) string {
	if value == "" || strings.Contains(name, "secret") || strings.Contains(name, "key") {
		return name
	}
	return name + "=" + value
}

type parser struct {
	o                   *Options
	l                   *Local
	umask, fmask, dmask *uint32
}

// option takes one option; known is false if there is no such.
func (p *parser) option(name, value string) (known bool, err error) {
	if f, ok := flags[name]; ok {
		p.o.Flags = p.o.Flags&^f.clear | f.set
		return true, nil
	}
	if set, ok := p.switches()[name]; ok {
		set()
		return true, nil
	}
	if set, ok := p.values()[name]; ok {
		if value == "" {
			return true, errors.New("a value is missing")
		}
		return true, set(value)
	}
	return false, nil
}

// switches are the options without a value.
func (p *parser) switches() map[string]func() {
	return map[string]func(){
		"ro": func() { p.o.ReadOnly = true }, "rw": func() { p.o.ReadOnly = false },
		"allow_other": func() { p.o.AllowOther = true },
		"writeback":   func() { p.o.WriteBack = true }, "nowriteback": func() { p.o.WriteBack = false },
		"sync_on_close": func() { p.o.SyncOnClose = true },
		"suid":          func() { p.o.Suid = true }, "nosuid": func() { p.o.Suid = false },
		"dev": func() { p.o.Dev = true }, "nodev": func() { p.o.Dev = false },
		"root_squash": func() { p.o.RootSquash = new(true) }, "no_root_squash": func() { p.o.RootSquash = new(false) },
	}
}

// values are the options with a value.
func (p *parser) values() map[string]func(string) error {
	o := &p.o.Owners
	text := func(to *string) func(string) error {
		return func(v string) error {
			*to = v
			return nil
		}
	}
	return map[string]func(string) error{
		"uid": number(&o.UID, 10), "gid": number(&o.GID, 10),
		"umask": number(&p.umask, 8), "fmask": number(&p.fmask, 8), "dmask": number(&p.dmask, 8),
		"uidmap": ranges(&o.UIDs), "gidmap": ranges(&o.GIDs),
		"entry_timeout": seconds(&p.o.Entry), "attr_timeout": seconds(&p.o.Attr),
		"socket": text(&p.l.Socket), "credentials": text(&p.l.Credentials),
		"access_key": text(&p.l.AccessKey), "secret_key": text(&p.l.SecretKey),
		"accounts": text(&p.l.Accounts), "anonuid": number(&p.o.AnonUID, 10), "anongid": number(&p.o.AnonGID, 10),
	}
}

// masks turns umask into the masks of files and directories where none is given.
func (p *parser) masks() {
	o := &p.o.Owners
	o.FileMask, o.DirMask = p.fmask, p.dmask
	if o.FileMask == nil {
		o.FileMask = p.umask
	}
	if o.DirMask == nil {
		o.DirMask = p.umask
	}
}

func number(to **uint32, base int) func(string) error {
	return func(v string) error {
		n, err := strconv.ParseUint(v, base, 32)
		if err != nil || n == 1<<32-1 {
			return fmt.Errorf("not a number (base %d)", base)
		}
		*to = new(uint32(n))
		return nil
	}
}

// ranges reads SHOWN:STORED[:COUNT]; the option may be repeated.
func ranges(to *[]fusefs.IDRange) func(string) error {
	return func(v string) error {
		words := strings.Split(v, ":")
		var n [3]uint32
		n[2] = 1
		ok := len(words) == 2 || len(words) == 3
		for i := 0; ok && i < len(words); i++ {
			x, err := strconv.ParseUint(words[i], 10, 32)
			n[i], ok = uint32(x), err == nil
		}
		if !ok {
			return errors.New("not SHOWN:STORED or SHOWN:STORED:COUNT")
		}
		*to = append(*to, fusefs.IDRange{Shown: n[0], Stored: n[1], Count: n[2]})
		return nil
	}
}

// seconds reads a number of seconds, as libfuse's options of these names have.
func seconds(to **time.Duration) func(string) error {
	return func(v string) error {
		s, err := strconv.ParseFloat(v, 64)
		if err != nil || !(s >= 0 && s <= 1e6) {
			return errors.New("not a number of seconds")
		}
		*to = new(time.Duration(s * float64(time.Second)))
		return nil
	}
}

// Validate refuses what no client of ours sends.
func (o Options) Validate() error {
	if o.Flags&^passable != 0 {
		return Errorf(Usage, "the mount flags %#x can't be passed", o.Flags&^passable)
	}
	for _, t := range []*time.Duration{o.Entry, o.Attr} {
		if t != nil && *t < 0 {
			return Errorf(Usage, "a timeout can't be negative")
		}
	}
	if err := o.Owners.Validate(); err != nil {
		return Errorf(Usage, "%v", err)
	}
	if o.Accounts != nil && o.WriteBack {
		return Errorf(Usage, "writeback and accounts exclude each other: a kernel that gathers writes doesn't say whose they are")
	}
	if a, b := o.AnonUID, o.AnonGID; a != nil && *a == 0 || b != nil && *b == 0 {
		return Errorf(Usage, "anonuid and anongid can't be root")
	}
	return nil
}
