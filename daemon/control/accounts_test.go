package control

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseAccounts(t *testing.T) {
	a, err := ParseAccounts("# users\n1000 alice\n0\t- # root\n\n@100 staff\n@0 -\n* guest\n")
	require.NoError(t, err)
	for id, want := range map[[2]uint32]string{
		{1000, 5}: "alice", {1000, 100}: "alice", {0, 100}: "", {7, 100}: "staff", {7, 0}: "", {7, 7}: "guest", {100, 1000}: "guest",
	} {
		require.Equal(t, want, a.Of(id[0], id[1]), id)
	}
	require.Equal(t, map[string]bool{"alice": true, "staff": true, "guest": true}, a.Names())
	a, err = ParseAccounts("")
	require.NoError(t, err)
	require.Empty(t, a.Of(0, 0), "whom no line names is refused")
	for _, text := range []string{"1000", "1000 a b", "x a", "-1 a", "@ a", "4294967295 a", "4294967296 a", "1 a\n1 b", "@1 a\n@1 a", "* a\n* b", "1000 -> a"} {
		_, err := ParseAccounts(text)
		require.Error(t, err, text)
	}
}

func TestMappedOptions(t *testing.T) {
	o, local, err := ParseOptions("accounts=/t,root_squash,no_root_squash,anonuid=7,anongid=8", false)
	require.NoError(t, err)
	require.Equal(t, "/t", local.Accounts)
	require.Equal(t, Options{RootSquash: new(false), AnonUID: id(7), AnonGID: id(8)}, o)
	for _, o := range []Options{{Accounts: &Accounts{}, WriteBack: true}, {AnonUID: id(0)}, {AnonGID: id(0)}} {
		require.Error(t, o.Validate())
	}
}
