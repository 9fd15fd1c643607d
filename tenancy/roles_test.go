package tenancy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every constant of type Action has its line in the table: one that has none is denied to everyone.
func TestEveryActionHasItsLine(t *testing.T) {
	files, err := os.ReadDir(".")
	require.NoError(t, err)
	declared := map[Action]bool{}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		require.NoError(t, err)
		ast.Inspect(tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Action" {
				name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				require.NoError(t, err)
				declared[Action(name)] = true
			}
			return true
		})
	}
	require.GreaterOrEqual(t, len(declared), 100)
	for a := range declared {
		require.NotZero(t, actions[a].scope, "%s has no line in actions (roles.go)", a)
		require.NotZero(t, actions[a].roles, "%s: no role has it", a)
		require.True(t, RoleAdmin.Has(a) || actions[a].scope == ofNode, "%s: admin has everything of its tenant", a)
	}
	require.Len(t, actions, len(declared))
}

// What a role may never do, however the table grows.
func TestRolesKeepToTheirs(t *testing.T) {
	for a, what := range actions {
		name := strings.ToLower(string(a))
		_, verb, _ := strings.Cut(name, ":")
		reads := strings.HasPrefix(verb, "get") || strings.HasPrefix(verb, "list") || strings.HasPrefix(verb, "read")
		if RoleReadOnly.Has(a) {
			require.True(t, reads || a == MountAdministrator, "readonly: %s", a)
			require.True(t, RoleAuditor.Has(a), "an auditor reads what a reader reads: %s", a)
		}
		if RoleAuditor.Has(a) && !reads {
			require.Contains(t, []Action{PlaceHold, PutObjectRetention, PutObjectLegalHold, MountAdministrator}, a)
		}
		if RoleReadWrite.Has(a) && !reads && a != MountAdministrator {
			require.True(t, strings.HasPrefix(name, "s3:"), "readwrite administers: %s", a)
			require.NotContains(t, verb, "policy")
			require.NotContains(t, verb, "bypass")
		}
		if RoleOperator.Has(a) {
			require.True(t, !strings.Contains(verb, "object") || a == GetBucketObjectLock, "an operator sees no data: %s", a)
		}
		if what.scope == ofNode {
			require.Equal(t, operator, what.roles, a)
		}
	}
	require.ErrorIs(t, Role("boss").Validate(), ErrInvalid)
	require.False(t, Role("").Has(GetObject))
	require.False(t, RoleAdmin.Has("s3:FlyToTheMoon"))
}
