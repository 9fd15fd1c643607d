package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadAccounts(t *testing.T) {
	name := filepath.Join(t.TempDir(), "accounts.toml")
	write := func(text string, mode os.FileMode) {
		require.NoError(t, os.RemoveAll(name))
		require.NoError(t, os.WriteFile(name, []byte(text), mode))
	}
	const one = "[[account]]\ntenant = 'acme'\nname = 'worker'\naccess_key = 'AKIA1'\nsecret_key = 'secret-secret'\nemail = 'a@example.com'\nrole = 'auditor'\npolicies = ['p']\nkms_keys = ['k1', 'k2']\n"
	write("[[policy]]\ntenant = 'acme'\nname = 'p'\ndocument = '{}'\n"+one+"[[account]]\ntenant = 'other'\naccess_key = 'AKIA2'\nsecret_key = 'secret-secret'\n", 0o600)
	doc, err := readAccounts(name)
	require.NoError(t, err)
	require.Equal(t, []namedPolicy{{"acme", "p", "{}"}}, doc.Policies)
	all := doc.Accounts
	require.Equal(t, []account{{Tenant: "acme", Name: "worker", AccessKey: "AKIA1", SecretKey: "secret-secret", Email: "a@example.com", Role: "auditor", Policies: []string{"p"}, KMSKeys: []string{"k1", "k2"}}, {Tenant: "other", AccessKey: "AKIA2", SecretKey: "secret-secret"}}, all)
	for _, bad := range []string{"", "[[account]]\ntenent = 'acme'\n", "nonsense"} {
		write(bad, 0o600)
		_, err := readAccounts(name)
		require.Error(t, err, bad)
	}
	write(one, 0o640)
	_, err = readAccounts(name)
	require.ErrorContains(t, err, "chmod 600")
}
