package posixacl

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var full = ACL{{UserObj, 7, NoID}, {User, 6, 1000}, {User, 4, 1001}, {GroupObj, 5, NoID}, {Group, 7, 50}, {Mask, 5, NoID}, {Other, 1, NoID}}

func TestParseRefuses(t *testing.T) {
	for name, a := range map[string]ACL{
		"no owner":                {{GroupObj, 5, NoID}, {Other, 1, NoID}},
		"no group":                {{UserObj, 5, NoID}, {Other, 1, NoID}},
		"no other":                {{UserObj, 5, NoID}, {GroupObj, 1, NoID}},
		"two owners":              {{UserObj, 5, NoID}, {UserObj, 5, NoID}, {GroupObj, 1, NoID}, {Other, 1, NoID}},
		"out of order":            {{GroupObj, 5, NoID}, {UserObj, 5, NoID}, {Other, 1, NoID}},
		"a user without a mask":   {{UserObj, 5, NoID}, {User, 5, 7}, {GroupObj, 1, NoID}, {Other, 1, NoID}},
		"a group without a mask":  {{UserObj, 5, NoID}, {GroupObj, 1, NoID}, {Group, 5, 7}, {Other, 1, NoID}},
		"a user that is nobody":   {{UserObj, 5, NoID}, {User, 5, NoID}, {GroupObj, 1, NoID}, {Mask, 1, NoID}, {Other, 1, NoID}},
		"more permissions than 7": {{UserObj, 8, NoID}, {GroupObj, 1, NoID}, {Other, 1, NoID}},
		"an unknown tag":          {{UserObj, 7, NoID}, {GroupObj, 1, NoID}, {Other, 1, NoID}, {0x40, 1, NoID}},
		"a mixed tag":             {{UserObj, 7, NoID}, {UserObj | User, 7, 3}, {GroupObj, 1, NoID}, {Mask, 7, NoID}, {Other, 1, NoID}},
		"a tag of zero":           {{0, 7, NoID}, {UserObj, 7, NoID}, {GroupObj, 1, NoID}, {Other, 1, NoID}},
	} {
		_, err := Parse(a.Marshal())
		require.ErrorIs(t, err, ErrInvalid, name)
	}
	good := full.Marshal()
	for name, b := range map[string][]byte{
		"half a header": good[:3], "half an entry": good[:len(good)-3], "another version": append([]byte{1}, good[1:]...),
		"too long": append(good, make([]byte, MaxBytes)...),
	} {
		_, err := Parse(b)
		require.ErrorIs(t, err, ErrInvalid, name)
	}
	for _, b := range [][]byte{nil, good[:headerSize]} {
		a, err := Parse(b)
		require.NoError(t, err)
		require.Empty(t, a)
	}
}

// The examples of acl(5) and what ext4 does with them (setfacl, chmod, touch, on Linux 6.18).
func TestMode(t *testing.T) {
	mode, minimal := full.Mode()
	require.EqualValues(t, 0o751, mode)
	require.False(t, minimal)
	after := full.Chmod(0o620)
	require.Equal(t, ACL{{UserObj, 6, NoID}, {User, 6, 1000}, {User, 4, 1001}, {GroupObj, 5, NoID}, {Group, 7, 50}, {Mask, 2, NoID}, {Other, 0, NoID}}, after)
	made := full.Inherit(0o666)
	require.Equal(t, ACL{{UserObj, 6, NoID}, {User, 6, 1000}, {User, 4, 1001}, {GroupObj, 5, NoID}, {Group, 7, 50}, {Mask, 4, NoID}, {Other, 0, NoID}}, made)
	three := ACL{{UserObj, 7, NoID}, {GroupObj, 5, NoID}, {Other, 1, NoID}}
	mode, minimal = three.Inherit(0o644).Mode()
	require.EqualValues(t, 0o640, mode)
	require.True(t, minimal)
	masked := ACL{{UserObj, 7, NoID}, {GroupObj, 7, NoID}, {Mask, 4, NoID}, {Other, 1, NoID}}
	mode, minimal = masked.Mode()
	require.EqualValues(t, 0o741, mode)
	require.False(t, minimal, "a mask hides what the group has")
}

func drawACL(t *rapid.T) ACL {
	perm := func(what string) uint16 { return rapid.Uint16Range(0, 7).Draw(t, what) }
	a := ACL{{UserObj, perm("owner"), NoID}}
	for range rapid.IntRange(0, 3).Draw(t, "users") {
		a = append(a, Entry{User, perm("user"), rapid.Uint32Range(0, NoID-1).Draw(t, "uid")})
	}
	a = append(a, Entry{GroupObj, perm("group"), NoID})
	for range rapid.IntRange(0, 3).Draw(t, "groups") {
		a = append(a, Entry{Group, perm("named group"), rapid.Uint32Range(0, NoID-1).Draw(t, "gid")})
	}
	if len(a) > 2 || rapid.Bool().Draw(t, "mask") {
		a = append(a, Entry{Mask, perm("mask"), NoID})
	}
	return append(a, Entry{Other, perm("other"), NoID})
}

func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, mode := drawACL(t), rapid.Uint32Range(0, 0o777).Draw(t, "mode")
		back, err := Parse(a.Marshal())
		require.NoError(t, err)
		require.Equal(t, a, back)
		bits, _ := a.Mode()
		require.Equal(t, a, a.Chmod(bits), "a chmod to what is there changes nothing")
		bits, _ = a.Chmod(mode).Mode()
		require.Equal(t, mode, bits, "stat shows what chmod set")
		inherited, _ := a.Inherit(mode).Mode()
		shown, _ := a.Mode()
		require.Equal(t, mode&shown, inherited, "nobody gets more than was asked for and the list gives")
	})
}

func FuzzParse(f *testing.F) {
	f.Add(full.Marshal())
	f.Add([]byte{2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(a.Marshal())
		require.NoError(t, err)
		require.Equal(t, a, again)
		if mode, _ := a.Mode(); mode > 0o777 {
			t.Fatalf("mode %o", mode)
		}
	})
}

func TestPermits(t *testing.T) {
	for _, c := range []struct {
		uid, gid uint32
		want     uint16
		may      bool
	}{
		{1, 9, 7, true},                         // the owner, whom no mask binds
		{1000, 9, 4, true}, {1000, 9, 2, false}, // named, and masked
		{1001, 50, 5, false},              // named: no group helps him
		{5, 2, 5, true}, {5, 2, 2, false}, // the file's group
		{5, 50, 5, true}, {5, 50, 3, false}, // a named group, masked
		{5, 9, 1, true}, {5, 9, 4, false}, // others
	} {
		require.Equal(t, c.may, full.Permits(c.uid, c.gid, 1, 2, c.want), "%+v", c)
	}
	shut := ACL{{UserObj, 0, NoID}, {GroupObj, 0, NoID}, {Other, 7, NoID}}
	require.False(t, shut.Permits(1, 9, 1, 2, 4), "an owner is no other")
	require.False(t, shut.Permits(5, 2, 1, 2, 4), "nor is a member of the group")
	require.False(t, ACL(nil).Permits(1, 1, 1, 1, 1))
}
