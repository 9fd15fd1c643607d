package tenancy

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMasterIsMadeOnceAndLoadsBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	_, err := LoadMaster(path)
	require.ErrorIs(t, err, fs.ErrNotExist)

	made, err := CreateMaster(path)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	loaded, err := LoadMaster(path)
	require.NoError(t, err)
	require.Equal(t, made.key, loaded.key)
	require.Equal(t, made.MetadataKey(), loaded.MetadataKey())
	require.NotEqual(t, made.key, made.MetadataKey())

	_, err = CreateMaster(path)
	require.ErrorIs(t, err, fs.ErrExist)
	again, err := LoadMaster(path)
	require.NoError(t, err)
	require.Equal(t, made.key, again.key, "an existing key is never replaced")

	names, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, names, 1, "no temporary file with the key stays behind")
}

func TestMasterRefuses(t *testing.T) {
	whole := func(t *testing.T, path string) []byte {
		_, err := CreateMaster(path)
		require.NoError(t, err)
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		return raw
	}
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, path string)
		says  string
	}{
		{"group may read", func(t *testing.T, p string) { whole(t, p); require.NoError(t, os.Chmod(p, 0o640)) }, "chmod 600"},
		{"world may read", func(t *testing.T, p string) { whole(t, p); require.NoError(t, os.Chmod(p, 0o604)) }, "chmod 600"},
		{"short", func(t *testing.T, p string) {
			raw := whole(t, p)
			require.NoError(t, os.Truncate(p, int64(len(raw)-1)))
		}, "bytes long"},
		{"empty", func(t *testing.T, p string) { whole(t, p); require.NoError(t, os.Truncate(p, 0)) }, "bytes long"},
		{"long", func(t *testing.T, p string) {
			raw := whole(t, p)
			require.NoError(t, os.WriteFile(p, append(raw, '\n'), 0o600))
		}, "bytes long"},
		{"flipped digit", func(t *testing.T, p string) {
			raw := whole(t, p)
			i := len(masterMagic) + 5
			raw[i] = map[bool]byte{true: '1', false: '0'}[raw[i] == '0']
			require.NoError(t, os.WriteFile(p, raw, 0o600))
		}, "checksum"},
		{"not hexadecimal", func(t *testing.T, p string) {
			raw := whole(t, p)
			raw[len(masterMagic)] = 'x'
			require.NoError(t, os.WriteFile(p, raw, 0o600))
		}, "hexadecimal"},
		{"another file", func(t *testing.T, p string) {
			require.NoError(t, os.WriteFile(p, []byte(strings.Repeat("k", masterFileBytes)), 0o600))
		}, "begin with"},
		{"zero key", func(t *testing.T, p string) { require.NoError(t, os.WriteFile(p, new(Master).encode(), 0o600)) }, "zero"},
		{"directory", func(t *testing.T, p string) { require.NoError(t, os.Mkdir(p, 0o700)) }, "regular file"},
		{"symbolic link", func(t *testing.T, p string) {
			whole(t, p+".real")
			require.NoError(t, os.Symlink(p+".real", p))
		}, "symbolic links"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "master.key")
			tt.spoil(t, path)
			_, err := LoadMaster(path)
			require.ErrorContains(t, err, tt.says)
			require.ErrorContains(t, err, path)
		})
	}
}

func TestMasterNeverPrintsItsKey(t *testing.T) {
	m, err := CreateMaster(filepath.Join(t.TempDir(), "master.key"))
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		out := fmt.Sprintf(verb, m)
		require.Equal(t, "tenancy.Master(hidden)", out)
	}
}
