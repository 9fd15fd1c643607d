// Package k3fs_test holds the drawing of the repository's rooms, and the test that keeps it true.
package k3fs_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// drawing is read by the test below. In the first line a room may import every room left of it, but
// none beside it (between the same two '<'). The second says who alone may import a library. A folder
// below a room belongs to the room. The third names folders that stand apart: they import no room.
// Folders under internal/ at the top may be imported by all.
const drawing = `
metastore, chunkstore < tenancy < namespace < fusefs, s3api < daemon < cmd/k3fs
only metastore/badgerkv imports badger; only fusefs go-fuse; only s3api and daemon gin
apart: e2e, systemd, internal
`

// libraries are the import paths that the drawing calls by a short name.
var libraries = map[string]string{
	"badger":  "github.com/dgraph-io/badger",
	"go-fuse": "github.com/hanwen/go-fuse",
	"gin":     "github.com/gin-gonic/gin",
}

const module = "k3fs"

// plan is the drawing, parsed.
type plan struct {
	level map[string]int      // of each room, from 0
	apart []string            // folders outside the order
	only  map[string][]string // library: the folders that may import it
}

func parse(text string) plan {
	p := plan{level: map[string]int{}, only: map[string][]string{}}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, rooms := range strings.Split(lines[0], " < ") {
		for _, room := range strings.Split(rooms, ", ") {
			p.level[room] = i
		}
	}
	for _, rule := range strings.Split(lines[1], "; ") {
		words := strings.Fields(strings.NewReplacer("only ", "", " imports ", " ", " and ", " ").Replace(rule))
		p.only[words[len(words)-1]] = words[:len(words)-1]
	}
	p.apart = strings.Split(strings.TrimPrefix(lines[2], "apart: "), ", ")
	return p
}

// room returns the room that folder belongs to: itself or the nearest folder above that is one.
func (p plan) room(folder string) (string, bool) {
	for ; folder != "." && folder != "/"; folder = path.Dir(folder) {
		if _, ok := p.level[folder]; ok || slices.Contains(p.apart, folder) {
			return folder, true
		}
	}
	return "", false
}

// check returns why folder may not import target, or "".
func (p plan) check(folder, target string) string {
	from, ok := p.room(folder)
	if !ok {
		return "is in no room of the drawing"
	}
	if rest, ours := strings.CutPrefix(target, module+"/"); ours {
		to, ok := p.room(rest)
		switch {
		case !ok:
			return "imports " + rest + ", which is in no room of the drawing"
		case from == to, to == "internal":
			return ""
		case slices.Contains(p.apart, from), slices.Contains(p.apart, to), p.level[from] <= p.level[to]:
			return "may not import " + rest
		}
		return ""
	}
	for name, allowed := range p.only {
		if lib := libraries[name]; target == lib || strings.HasPrefix(target, lib+"/") {
			inside := func(f string) bool { return folder == f || strings.HasPrefix(folder, f+"/") }
			if !slices.ContainsFunc(allowed, inside) && from != "e2e" {
				return "may not import " + target
			}
		}
	}
	return ""
}

func TestImportsFollowTheDrawing(t *testing.T) {
	var pkg struct {
		ImportPath                         string
		Imports, TestImports, XTestImports []string
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...").Output()
	require.NoError(t, err)
	p := parse(drawing)
	require.Len(t, p.only, len(libraries))
	for name := range p.only {
		require.Contains(t, libraries, name)
	}
	seen := map[string]bool{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		pkg.Imports, pkg.TestImports, pkg.XTestImports = nil, nil, nil
		require.NoError(t, dec.Decode(&pkg))
		if pkg.ImportPath == module { // this test
			continue
		}
		folder := strings.TrimPrefix(pkg.ImportPath, module+"/")
		room, ok := p.room(folder)
		if !ok {
			t.Errorf("%s is in no room of the drawing", folder)
			continue
		}
		seen[room] = true
		for _, target := range slices.Concat(pkg.Imports, pkg.TestImports, pkg.XTestImports) {
			if why := p.check(folder, target); why != "" {
				t.Errorf("%s %s", folder, why)
			}
		}
	}
	for room := range p.level {
		require.True(t, seen[room], "the drawing has a room %q without a package", room)
	}
}

func TestTheDrawingForbids(t *testing.T) {
	p := parse(drawing)
	for _, tt := range []struct {
		folder, target string
		allowed        bool
	}{
		{"tenancy", "k3fs/metastore", true},
		{"namespace", "k3fs/metastore/memkv", true},
		{"cmd/k3fs", "k3fs/daemon", true},
		{"s3api/internal/sigv4", "k3fs/namespace", true},
		{"metastore/badgerkv", "k3fs/metastore/kvtest", true},
		{"metastore/badgerkv", "github.com/dgraph-io/badger/v4", true},
		{"fusefs", "github.com/hanwen/go-fuse/v2/fuse", true},
		{"daemon", "github.com/gin-gonic/gin", true},
		{"daemon", "net/http", true},
		{"chunkstore", "k3fs/internal/align", true},
		{"metastore", "k3fs/chunkstore", false},
		{"metastore", "k3fs/tenancy", false},
		{"namespace", "k3fs/fusefs", false},
		{"fusefs", "k3fs/s3api", false},
		{"s3api", "k3fs/daemon", false},
		{"s3api", "k3fs/utils", false},
		{"utils", "fmt", false},
		{"e2e/doors", "k3fs/namespace", false},
		{"daemon", "k3fs/e2e/harness", false},
		{"metastore/memkv", "github.com/dgraph-io/badger/v4", false},
		{"namespace", "github.com/dgraph-io/badger/v4/y", false},
		{"namespace", "github.com/gin-gonic/gin/binding", false},
		{"s3api", "github.com/hanwen/go-fuse/v2/fs", false},
	} {
		why := p.check(tt.folder, tt.target)
		require.Equal(t, tt.allowed, why == "", fmt.Sprintf("%s imports %s: %s", tt.folder, tt.target, why))
	}
}
