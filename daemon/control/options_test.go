package control

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/fusefs"
)

func id(n uint32) *uint32 { return &n }

func TestParseOptions(t *testing.T) {
	for list, want := range map[string]Options{
		"": {},
		"defaults,rw,_netdev,nofail,noauto,user,x-systemd.automount,x-systemd.idle-timeout=60,X-mount.mkdir,default_permissions": {},
		"rw,ro":                            {ReadOnly: true},
		"ro,rw":                            {},
		"allow_other,sync_on_close":        {AllowOther: true, SyncOnClose: true},
		"suid,dev,nodev":                   {Suid: true},
		"noexec,noatime":                   {Flags: unix.MS_NOEXEC | unix.MS_NOATIME},
		"noatime,relatime":                 {Flags: unix.MS_RELATIME},
		"noexec,exec":                      {},
		"uid=1000,gid=100":                 {Owners: fusefs.Owners{UID: id(1000), GID: id(100)}},
		"umask=022":                        {Owners: fusefs.Owners{FileMask: id(0o022), DirMask: id(0o022)}},
		"fmask=133,umask=077":              {Owners: fusefs.Owners{FileMask: id(0o133), DirMask: id(0o077)}},
		"uidmap=0:5,uidmap=100:10:3":       {Owners: fusefs.Owners{UIDs: []fusefs.IDRange{{Shown: 0, Stored: 5, Count: 1}, {Shown: 100, Stored: 10, Count: 3}}}},
		"entry_timeout=0,attr_timeout=1.5": {Entry: new(time.Duration(0)), Attr: new(1500 * time.Millisecond)},
		"writeback":                        {WriteBack: true},
	} {
		got, local, err := ParseOptions(list, false)
		require.NoError(t, err, list)
		require.Equal(t, want, got, list)
		require.Zero(t, local)
		require.NoError(t, got.Validate(), list)
	}
	_, local, err := ParseOptions("socket=/s,credentials=/c,access_key=A,secret_key=B", false)
	require.NoError(t, err)
	require.Equal(t, Local{Socket: "/s", Credentials: "/c", AccessKey: "A", SecretKey: "B"}, local)
}

func TestParseOptionsRefuses(t *testing.T) {
	for _, list := range []string{"bogus", "bogus=1", "uid", "uid=", "uid=root", "uid=-1", "uid=4294967295", "umask=9", "umask=01000",
		"uidmap=1", "uidmap=1:2:3:4", "uidmap=0:0:2,uidmap=1:5", "uid=1,uidmap=0:0", "attr_timeout=-1", "attr_timeout=NaN", "entry_timeout=x"} {
		_, _, err := ParseOptions(list, false)
		require.Error(t, err, list)
	}
	_, _, err := ParseOptions("bogus=1,also", true)
	require.NoError(t, err, "mount -s")
	_, _, err = ParseOptions("uid=x", true)
	require.Error(t, err, "a known option with a wrong value is wrong all the same")
}

func TestErrorsTellNoSecret(t *testing.T) {
	for _, list := range []string{"secretkey=hidden", "secret_kye=hidden", "secret_access_key=hidden"} {
		_, _, err := ParseOptions(list, false)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "hidden")
	}
}

// What a client could send that ParseOptions never makes.
func TestValidateRefusesForgedOptions(t *testing.T) {
	for _, o := range []Options{
		{Flags: unix.MS_REMOUNT}, {Flags: unix.MS_BIND}, {Flags: unix.MS_RDONLY}, {Entry: new(-time.Second)},
		{Owners: fusefs.Owners{FileMask: id(0o1000)}},
	} {
		require.Error(t, o.Validate())
	}
}
