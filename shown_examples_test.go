package rebuild_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// public are the directories of the packages that embedders import.
var public = []string{".", "freezer", "imagefile", "journalfile", "memhost", "rebuildfx", "spdkhost", "storetest"}

// go doc and pkg.go.dev show an example with the symbol in its name, and silently drop it
// if the package does not declare that symbol: an alias has no methods.
func TestEveryExampleIsShown(t *testing.T) {
	all := 0
	for _, dir := range public {
		p, examples := documentation(t, dir)
		shown := make(map[string]bool)
		show := func(examples []*doc.Example) {
			for _, e := range examples {
				shown[e.Name] = true
			}
		}
		show(p.Examples)
		for _, f := range p.Funcs {
			show(f.Examples)
		}
		for _, declared := range p.Types {
			for _, f := range append(declared.Funcs, declared.Methods...) {
				show(f.Examples)
			}
			if isAlias := declared.Decl.Specs[0].(*ast.TypeSpec).Assign.IsValid(); !isAlias {
				show(declared.Examples)
			}
		}
		for _, e := range examples {
			require.True(t, shown[e.Name], "%s: Example%s is not shown: the package declares no such symbol, or an alias", dir, e.Name)
		}
		all += len(examples)
	}
	require.NotZero(t, all)
}

// documentation is a package as go doc sees it, and all of its examples.
func documentation(t *testing.T, dir string) (*doc.Package, []*doc.Example) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	require.NotEmpty(t, paths, dir)
	fset := token.NewFileSet()
	var all, tests []*ast.File
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		file, err := parser.ParseFile(fset, path, text, parser.ParseComments)
		require.NoError(t, err)
		all = append(all, file)
		if strings.HasSuffix(path, "_test.go") {
			tests = append(tests, file)
		}
	}
	p, err := doc.NewFromFiles(fset, all, module+"/"+dir)
	require.NoError(t, err)
	return p, doc.Examples(tests...)
}
