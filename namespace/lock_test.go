package namespace

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The rule of Object Lock and holds, as it is specified: by what protects a version, and by what is done to it.
func TestLockRule(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	later, earlier := now.Add(time.Hour).UnixNano(), now.Add(-time.Hour).UnixNano()
	const (
		may     = true
		refused = false
	)
	retained := func(m LockMode, until int64) lockRec { return lockRec{Mode: uint8(m), Until: until} }
	held := func(h holdRec) []hold { return []hold{{ID: "h-1", holdRec: h}} }
	specification := []struct {
		version   string
		lock      lockRec
		holds     []hold
		published int64

		erase, bypassing bool // remove the version for good; asking to pass governance retention, permitted to
		describe         bool // change its headers or user metadata in place
		rekey            bool // rename a directory above it
		written          bool // overwrite, write to, truncate, rename or unlink it, in a bucket that keeps versions
		unversioned      bool // the same where nothing keeps what was
	}{
		{version: "that nothing protects", erase: may, bypassing: may, describe: may, rekey: may, written: may, unversioned: may},

		{version: "retained in governance mode", lock: retained(Governance, later), erase: refused, bypassing: may, describe: refused, rekey: refused, written: may, unversioned: refused},
		{version: "retained in compliance mode", lock: retained(Compliance, later), erase: refused, bypassing: refused, describe: refused, rekey: refused, written: may, unversioned: refused},
		{version: "retained in a mode that is not known", lock: retained(77, later), erase: refused, bypassing: refused, describe: refused, rekey: refused, written: may, unversioned: refused},
		{version: "whose governance has passed", lock: retained(Governance, earlier), erase: may, bypassing: may, describe: may, rekey: may, written: may, unversioned: may},
		{version: "whose compliance has passed", lock: retained(Compliance, earlier), erase: may, bypassing: may, describe: may, rekey: may, written: may, unversioned: may},
		{version: "whose retention ends now", lock: retained(Compliance, now.UnixNano()), erase: may, bypassing: may, describe: may, rekey: may, written: may, unversioned: may},

		{version: "under legal hold", lock: lockRec{LegalHold: true}, erase: refused, bypassing: refused, describe: refused, rekey: refused, written: may, unversioned: refused},
		{version: "under legal hold, and governance", lock: lockRec{LegalHold: true, Mode: uint8(Governance), Until: later}, erase: refused, bypassing: refused, describe: refused, rekey: refused, written: may, unversioned: refused},

		{version: "committed through the mount", lock: lockRec{Mode: uint8(Compliance), Until: later, Strict: true}, erase: refused, bypassing: refused, describe: refused, rekey: refused, written: refused, unversioned: refused},
		{version: "committed in governance, which nobody can", lock: lockRec{Mode: uint8(Governance), Until: later, Strict: true}, erase: refused, bypassing: refused, describe: refused, rekey: refused, written: refused, unversioned: refused},
		{version: "committed once", lock: lockRec{Mode: uint8(Compliance), Until: earlier, Strict: true}, erase: may, bypassing: may, describe: may, rekey: may, written: may, unversioned: may},
		{version: "committed once, and under a hold", lock: lockRec{Mode: uint8(Compliance), Until: earlier, Strict: true}, holds: held(holdRec{}), erase: refused, bypassing: refused, describe: refused, rekey: refused, written: may, unversioned: refused},
		{version: "committed, and under a hold", lock: lockRec{Mode: uint8(Compliance), Until: later, Strict: true}, holds: held(holdRec{}), erase: refused, bypassing: refused, describe: refused, rekey: refused, written: refused, unversioned: refused},

		{version: "under a hold", holds: held(holdRec{}), erase: refused, bypassing: refused, describe: refused, rekey: refused, written: may, unversioned: refused},
		{version: "under a hold that ends later", holds: held(holdRec{Until: later}), erase: refused, bypassing: refused, describe: refused, rekey: refused, written: may, unversioned: refused},
		{version: "under a hold that is over", holds: held(holdRec{Until: earlier}), erase: may, bypassing: may, describe: may, rekey: may, written: may, unversioned: may},
		{version: "under a hold that is over and one that is not", holds: append(held(holdRec{Until: earlier}), held(holdRec{})...), erase: refused, bypassing: refused, describe: refused, rekey: refused, written: may, unversioned: refused},
		{version: "under a hold and passed retention", lock: retained(Compliance, earlier), holds: held(holdRec{}), erase: refused, bypassing: refused, describe: refused, rekey: refused, written: may, unversioned: refused},
		{version: "under a hold and governance", lock: retained(Governance, later), holds: held(holdRec{}), erase: refused, bypassing: refused, describe: refused, rekey: refused, written: may, unversioned: refused},
		{version: "in its time under a regime", holds: held(holdRec{Period: int64(2 * time.Hour)}), published: earlier, erase: refused, bypassing: refused, describe: refused, rekey: refused, written: may, unversioned: refused},
		{version: "past its time under a regime", holds: held(holdRec{Period: int64(30 * time.Minute)}), published: earlier, erase: may, bypassing: may, describe: may, rekey: may, written: may, unversioned: may},
		{version: "under a regime without an end", holds: held(holdRec{Period: forever}), published: earlier, erase: refused, bypassing: refused, describe: refused, rekey: refused, written: may, unversioned: refused},
	}
	for _, s := range specification {
		t.Run(s.version, func(t *testing.T) {
			p := protection{lock: s.lock, holds: s.holds, published: s.published, versioned: true}
			ask := func(a act, bypass bool) bool { return p.refuses(a, now.UnixNano(), bypass) == "" }
			require.Equal(t, s.erase, ask(actErase, false), "erase")
			require.Equal(t, s.bypassing, ask(actErase, true), "erase, bypassing governance")
			require.Equal(t, s.describe, ask(actDescribe, false), "describe")
			require.Equal(t, s.rekey, ask(actRekey, false), "rekey")
			for _, a := range []act{actTouch, actLabel} {
				require.True(t, ask(a, false), "what no lock is of: %v", a)
			}
			for _, versioned := range []bool{true, false} {
				p.versioned = versioned
				want := s.unversioned
				if versioned {
					want = s.written
				}
				for _, a := range []act{actWrite, actAppend, actSetattr, actLink, actUnname} {
					require.Equal(t, want, ask(a, false), "act %v, versioned %v", a, versioned)
				}
			}
			require.Equal(t, s.erase, p.until(now.UnixNano()) == 0, "until")
		})
	}
}

// Two locks of what is one version make one that protects as both do.
func TestLocksOfOne(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	day := func(n int) int64 { return now.AddDate(0, 0, n).UnixNano() }
	governance, compliance := uint8(Governance), uint8(Compliance)
	for _, s := range []struct {
		what       string
		a, b, want *lockRec
	}{
		{"none", nil, nil, nil},
		{"one", &lockRec{LegalHold: true}, nil, &lockRec{LegalHold: true}},
		{"the other", nil, &lockRec{Mode: governance, Until: day(1)}, &lockRec{Mode: governance, Until: day(1)}},
		{"the other, past", nil, &lockRec{Mode: compliance, Until: day(-1)}, nil},
		{"both", &lockRec{LegalHold: true}, &lockRec{Mode: governance, Until: day(1), Strict: true}, &lockRec{LegalHold: true, Mode: governance, Until: day(1), Strict: true}},
		{"the longer", &lockRec{Mode: governance, Until: day(1)}, &lockRec{Mode: governance, Until: day(2)}, &lockRec{Mode: governance, Until: day(2)}},
		{"the firmer", &lockRec{Mode: governance, Until: day(2)}, &lockRec{Mode: compliance, Until: day(1)}, &lockRec{Mode: compliance, Until: day(2)}},
		{"in place of what has passed", &lockRec{Mode: compliance, Until: day(-1), Strict: true}, &lockRec{Mode: governance, Until: day(1)}, &lockRec{Mode: governance, Until: day(1)}},
		{"beside what has passed", &lockRec{Mode: governance, Until: day(1)}, &lockRec{Mode: compliance, Until: day(-1)}, &lockRec{Mode: governance, Until: day(1)}},
	} {
		require.Equal(t, s.want, s.a.with(s.b, now.UnixNano()), s.what)
	}
}

// What may become of a version's retention: by what it is, and what it is to be.
func TestRetentionRule(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	day := func(n int) time.Time { return now.AddDate(0, 0, n) }
	for _, s := range []struct {
		what           string
		from, to       Retention
		may, bypassing bool
	}{
		{"place governance", Retention{}, Retention{Governance, day(1)}, true, true},
		{"place compliance", Retention{}, Retention{Compliance, day(1)}, true, true},
		{"place again what has passed", Retention{Compliance, day(-1)}, Retention{Governance, day(1)}, true, true},
		{"remove what has passed", Retention{Compliance, day(-1)}, Retention{}, true, true},
		{"lengthen governance", Retention{Governance, day(1)}, Retention{Governance, day(2)}, true, true},
		{"leave governance", Retention{Governance, day(1)}, Retention{Governance, day(1)}, true, true},
		{"shorten governance", Retention{Governance, day(2)}, Retention{Governance, day(1)}, false, true},
		{"remove governance", Retention{Governance, day(2)}, Retention{}, false, true},
		{"make governance compliance", Retention{Governance, day(2)}, Retention{Compliance, day(2)}, false, true},
		{"make governance a longer compliance", Retention{Governance, day(2)}, Retention{Compliance, day(3)}, false, true},
		{"lengthen compliance", Retention{Compliance, day(1)}, Retention{Compliance, day(2)}, true, true},
		{"shorten compliance", Retention{Compliance, day(2)}, Retention{Compliance, day(1)}, false, false},
		{"remove compliance", Retention{Compliance, day(2)}, Retention{}, false, false},
		{"make compliance a longer governance", Retention{Compliance, day(2)}, Retention{Governance, day(3)}, false, false},
	} {
		l := lockRec{Mode: uint8(s.from.Mode), Until: nanos(s.from.Until)}
		require.Equal(t, s.may, l.retain(s.to, now.UnixNano(), false) == "", s.what)
		require.Equal(t, s.bypassing, l.retain(s.to, now.UnixNano(), true) == "", "%s, bypassing", s.what)
		l.Strict = true
		require.Equal(t, s.may, l.retain(s.to, now.UnixNano(), true) == "", "%s, committed", s.what)
	}
}

// Only eraseInode removes the record of a version, and it asks the rule first: the source says so.
func TestOneFunctionRemovesVersions(t *testing.T) {
	files, err := os.ReadDir(".")
	require.NoError(t, err)
	removes := map[string]bool{}
	asks := false
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		require.NoError(t, err)
		for _, d := range parsed.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if named(fn.Body, "Delete") && (mentions(fn.Body, "inodeKey") || mentions(fn.Body, "kInode")) {
				removes[fn.Name.Name] = true
			}
			if fn.Name.Name == "eraseInode" {
				asks = mentions(fn.Body.List[0], "unlocked") && mentions(fn.Body.List[0], "actErase")
			}
		}
	}
	require.Equal(t, map[string]bool{"eraseInode": true}, removes)
	require.True(t, asks, "eraseInode asks before all else")
}

// named reports whether a method or function of that name is called.
func named(n ast.Node, name string) (found bool) {
	if n == nil {
		return false
	}
	ast.Inspect(n, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if s, ok := call.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == name {
				found = true
			}
		}
		return !found
	})
	return found
}

func mentions(n ast.Node, name string) (found bool) {
	if n == nil {
		return false
	}
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.Name == name {
			found = true
		}
		return !found
	})
	return found
}
