package rebuild_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The hexagon: imports point one way, from code that touches machines to code that is
// pure. These tests fail when an import points the other way. They read sources, so they
// hold for every build tag and for packages that do not compile.

const module = "github.com/rootgraft/rebuild"

// pure lists the packages that the domain may import: none of them does I/O, waits, is
// random or keeps state, except for what impure lists.
var pure = []string{
	"bytes", "cmp", "container/heap", "crypto/sha256", "encoding/binary", "encoding/hex", "errors", "fmt",
	"hash", "hash/crc64", "hash/fnv", "iter", "maps", "math", "math/bits", "slices", "sort", "strconv",
	"strings", "time", "unicode", "unicode/utf8",
}

// impure lists what the domain may not use from these packages.
var impure = map[string][]string{
	"time": {"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker", "Local", "LoadLocation"},
	"fmt":  {"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"},
}

// A layer is a directory with its subdirectories, and what its packages may import beside
// the standard library. The first layer that matches a directory counts.
type layer struct {
	dir    string
	ours   []string // our directories, with their subdirectories
	others []string // other modules; nil: any
	reason string
}

var none = []string{}

var layers = []layer{
	{
		dir: "internal/domain", ours: none, others: none,
		reason: "the domain is pure: it imports none of our packages, and no standard package that does I/O",
	},
	{
		dir: "internal/ports/porttest", ours: []string{"internal/domain", "internal/ports", "internal/liveclient"},
		others: []string{"github.com/stretchr/testify", "pgregory.net/rapid"},
		reason: "the conformance suite knows the ports and no adapter",
	},
	{
		dir: "internal/ports/mocks", ours: []string{"internal/domain", "internal/ports"},
		others: []string{"github.com/golang/mock"},
		reason: "the mocks know the ports only",
	},
	{
		dir: "internal/ports", ours: []string{"internal/domain"}, others: none,
		reason: "the ports know the domain and nothing else",
	},
	{
		dir: "internal/app/retry", ours: []string{"internal/ports"}, others: []string{"github.com/cenkalti/backoff"},
		reason: "package retry knows the kinds of errors, and nothing of what is done again",
	},
	{
		dir: "internal/app/guard", ours: []string{"internal/domain", "internal/ports", "internal/app/retry"}, others: none,
		reason: "what guards a host knows the ports, and nothing of who calls them",
	},
	{
		dir: "internal/app/executor", ours: []string{"internal/domain", "internal/ports", "internal/app/retry", "internal/randid", "internal/table"},
		others: []string{"go.uber.org/zap"},
		reason: "the executor carries plans out and knows nothing of requests",
	},
	{
		dir: "internal/app", ours: []string{"internal/domain", "internal/ports", "internal/app", "internal/keylock", "internal/randid", "internal/table"},
		others: []string{"go.uber.org/zap", "github.com/cenkalti/backoff", "golang.org/x/sync"},
		reason: "the use cases reach hosts through the ports only",
	},
	{
		dir: "internal/keylock", ours: none, others: []string{"golang.org/x/sync"},
		reason: "locks by key know nothing of what is locked",
	},
	{dir: "internal/liveclient", ours: none, others: none, reason: "clients of a volume know nothing of what is done to it"},
	{dir: "internal/table", ours: none, others: none, reason: "maps know nothing of what is in them"},
	{dir: "internal/randid", ours: none, others: none, reason: "identifiers are drawn for nothing in particular"},
	{
		dir: "internal/adapters/spdk/nvmf",
		ours: []string{
			"internal/ports", "internal/keylock", "internal/randid", "internal/table",
			"internal/adapters/spdk/nvmf", "internal/adapters/spdk/rpc", "internal/adapters/spdk/nvmetcp",
		},
		reason: "exports are made for lvols, and know nothing of what is done to them",
	},
	{
		dir: "internal/adapters/spdk/raid",
		ours: []string{
			"internal/domain", "internal/ports", "internal/keylock", "internal/randid",
			"internal/adapters/spdk/nvmf", "internal/adapters/spdk/rpc",
		},
		reason: "a mirror knows ways and calls, and nothing of hosts",
	},
	{
		dir: "internal/adapters/spdk/nvmetcp/wire", ours: none,
		reason: "PDUs know nothing of hosts and servers",
	},
	{
		dir: "internal/adapters/spdk/nvmetcp", ours: []string{"internal/adapters/spdk/nvmetcp/wire"},
		reason: "NVMe/TCP knows nothing of who reads and writes",
	},
	{
		dir: "internal/adapters/spdk/rpc", ours: []string{"internal/ports"},
		reason: "the JSON-RPC client knows the kinds of errors, and nothing of who calls it",
	},
	{
		dir:    "internal/adapters/spdk/simtarget",
		ours:   []string{"internal/domain", "internal/ports", "internal/adapters/spdk", "internal/adapters/memory", "internal/liveclient"},
		reason: "the simulated target builds on the memory adapter and no other",
	},
	{
		dir: "journalfile", ours: []string{"."}, others: []string{"go.uber.org/zap", "golang.org/x/sys"},
		reason: "the journal knows the public API only",
	},
	{
		dir: "imagefile", ours: none, others: []string{"github.com/klauspost/compress", "golang.org/x/sys"},
		reason: "disk images need none of our packages",
	},
	{
		dir:    "cmd/engine",
		ours:   append([]string{"internal/scenario", "internal/adapters/spdk/simtarget"}, public...),
		reason: "the command uses the public API, and the simulation",
	},
}

// confined are modules that embedders must not inherit, and the directories that may
// import them.
var confined = map[string][]string{
	"go.uber.org/fx":                     {"cmd", "rebuildfx"},
	"github.com/spf13/cobra":             {"cmd"},
	"go.yaml.in/yaml":                    {"cmd", "internal/scenario"},
	"gopkg.in/yaml.v2":                   none,
	"gopkg.in/yaml.v3":                   none,
	"sigs.k8s.io/yaml":                   none,
	"github.com/goccy/go-yaml":           none,
	"github.com/longhorn/go-spdk-helper": {"cmd", "internal/adapters/spdk"},
	"github.com/klauspost/compress":      {"imagefile"},
}

// forTests are packages that only tests and the command may import.
var forTests = []string{"internal/adapters/spdk/simtarget", "internal/adapters/spdk/targettest"}

func layerOf(dir string) (layer, bool) {
	for _, l := range layers {
		if within(dir, l.dir) {
			return l, true
		}
	}
	if adapter, ok := adapterOf(dir); ok {
		return layer{
			dir: adapter, ours: []string{"internal/domain", "internal/ports", "internal/keylock", "internal/randid", "internal/table", adapter},
			reason: "an adapter knows the ports and the domain, neither the use cases nor another adapter",
		}, true
	}
	return layer{}, false
}

// adapterOf is the directory of the adapter that dir belongs to.
func adapterOf(dir string) (string, bool) {
	const adapters = "internal/adapters"
	if dir == adapters || !within(dir, adapters) {
		return "", false
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(dir, adapters+"/"), "/")
	return path.Join(adapters, name), true
}

// objection is the reason why the package in a directory ("." is the root) may not import
// that path, or "" if it may.
func objection(from, imported string) string {
	l, inLayer := layerOf(from)
	if ours, ok := ourDir(imported); ok {
		switch {
		case inLayer && !slices.ContainsFunc(l.ours, func(dir string) bool { return within(ours, dir) }):
			return l.reason
		case from == "." && within(ours, "internal/adapters"):
			return "embedders choose the adapters: the root package imports none"
		case !within(from, "cmd") && isForTests(ours) && !isForTests(from):
			return "it is for tests"
		}
		return ""
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") { // the standard library
		if within(from, "internal/domain") && !slices.Contains(pure, imported) {
			return l.reason
		}
		return ""
	}
	for other, dirs := range confined {
		if within(imported, other) && !slices.ContainsFunc(dirs, func(dir string) bool { return within(from, dir) }) {
			return fmt.Sprintf("embedders must not inherit it: only %s may", or(dirs, "nothing"))
		}
	}
	if inLayer && l.others != nil && !slices.ContainsFunc(l.others, func(m string) bool { return within(imported, m) }) {
		return fmt.Sprintf("%s; of other modules it may import %s", l.reason, or(l.others, "none"))
	}
	return ""
}

func ourDir(imported string) (string, bool) {
	if imported == module {
		return ".", true
	}
	return strings.CutPrefix(imported, module+"/")
}

func isForTests(dir string) bool {
	return slices.ContainsFunc(forTests, func(tests string) bool { return within(dir, tests) })
}

func within(dir, of string) bool { return dir == of || strings.HasPrefix(dir, of+"/") }

func or(words []string, none string) string {
	if len(words) == 0 {
		return none
	}
	return strings.Join(words, ", ")
}

func TestImportsPointOneWay(t *testing.T) {
	for _, f := range sources(t, production) {
		for _, i := range f.imports {
			if why := objection(f.dir, i.path); why != "" {
				t.Errorf("%s: package %s may not import %s: %s", i.at, f.dir, i.path, why)
			}
		}
	}
}

// The command's tests may also import the packages for tests.
func TestCommandTestsUsePublicAPI(t *testing.T) {
	for _, f := range sources(t, tests) {
		for _, i := range f.imports {
			ours, _ := ourDir(i.path)
			if why := objection(f.dir, i.path); why != "" && f.dir == "cmd/engine" && !isForTests(ours) {
				t.Errorf("%s: tests of %s may not import %s: %s", i.at, f.dir, i.path, why)
			}
		}
	}
}

func TestRootPackageReachesNoAdapter(t *testing.T) {
	imports := make(map[string][]string)
	for _, f := range sources(t, production) {
		for _, i := range f.imports {
			if dir, ok := ourDir(i.path); ok {
				imports[f.dir] = append(imports[f.dir], dir)
			}
		}
	}
	cameFrom := map[string]string{".": ""}
	for next := []string{"."}; len(next) > 0; next = next[1:] {
		for _, dir := range imports[next[0]] {
			if _, seen := cameFrom[dir]; seen {
				continue
			}
			cameFrom[dir] = next[0]
			next = append(next, dir)
			if within(dir, "internal/adapters") {
				way := dir
				for at := next[0]; at != ""; at = cameFrom[at] {
					way = at + " → " + way
				}
				t.Errorf("the root package imports an adapter: %s", way)
			}
		}
	}
}

func TestDomainIsPure(t *testing.T) {
	for _, f := range sources(t, production) {
		if !within(f.dir, "internal/domain") {
			continue
		}
		for _, found := range impurities(f.fset, f.syntax) {
			t.Error(found)
		}
	}
}

func impurities(fset *token.FileSet, file *ast.File) []string {
	imported := make(map[string]string) // by the name in the file
	for _, i := range file.Imports {
		name := path.Base(importPath(i))
		if i.Name != nil {
			name = i.Name.Name
		}
		imported[name] = importPath(i)
	}
	var found []string
	report := func(n ast.Node, format string, a ...any) {
		found = append(found, fmt.Sprintf("%s: the domain is pure: %s", fset.Position(n.Pos()), fmt.Sprintf(format, a...)))
	}
	if _, dot := imported["."]; dot {
		report(file.Name, "no import of it may be a dot import, or this test could not tell")
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && slices.Contains(impure[imported[x.Name]], n.Sel.Name) {
				report(n, "it may not use %s.%s", imported[x.Name], n.Sel.Name)
			}
		case *ast.GoStmt:
			report(n, "it may not start a goroutine")
		case *ast.ChanType:
			report(n, "it may not have a channel")
		case *ast.SelectStmt:
			report(n, "it may not wait")
		}
		return true
	})
	return found
}

// One package names the methods of SPDK, with the types of their parameters and results.
// Beside it, only simulated targets and what tests them do.
func TestOnlyTheClientNamesMethodsOfSPDK(t *testing.T) {
	method := regexp.MustCompile(`^"(bdev|nvmf|rpc|spdk)_[a-z0-9_]+"$`)
	named := 0
	for _, f := range sources(t, production) {
		if isForTests(f.dir) {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			text, ok := n.(*ast.BasicLit)
			if !ok || !method.MatchString(text.Value) {
				return true
			}
			if named++; f.dir != "internal/adapters/spdk/rpc" {
				t.Errorf("%s: %s is named outside internal/adapters/spdk/rpc", f.fset.Position(n.Pos()), text.Value)
			}
			return true
		})
	}
	require.Greater(t, named, 20)
}

// The rules themselves: a typo in one of them would allow everything.
func TestImportRules(t *testing.T) {
	const allowed, refused = true, false
	for _, c := range []struct {
		from, imported string
		want           bool
	}{
		{"internal/domain", "time", allowed},
		{"internal/domain", "crypto/sha256", allowed},
		{"internal/domain", "os", refused},
		{"internal/domain", "net", refused},
		{"internal/domain", "io/fs", refused},
		{"internal/domain", "sync", refused},
		{"internal/domain", "context", refused},
		{"internal/domain", "log", refused},
		{"internal/domain", "math/rand/v2", refused},
		{"internal/domain", "go.uber.org/zap", refused},
		{"internal/domain", module + "/internal/ports", refused},
		{"internal/domain", module, refused},
		{"internal/ports", "context", allowed},
		{"internal/ports", module + "/internal/domain", allowed},
		{"internal/ports", module + "/internal/app", refused},
		{"internal/ports", module + "/internal/adapters/memory", refused},
		{"internal/ports", "go.uber.org/zap", refused},
		{"internal/ports", "github.com/golang/mock/gomock", refused},
		{"internal/ports/mocks", "github.com/golang/mock/gomock", allowed},
		{"internal/ports/porttest", "github.com/stretchr/testify/require", allowed},
		{"internal/ports/porttest", module + "/internal/adapters/memory", refused},
		{"internal/app", module + "/internal/ports", allowed},
		{"internal/app", module + "/internal/app/executor", allowed},
		{"internal/app/executor", module + "/internal/ports", allowed},
		{"internal/app/executor", module + "/internal/app/retry", allowed},
		{"internal/app/executor", module + "/internal/app/guard", refused},
		{"internal/app/executor", module + "/internal/app", refused},
		{"internal/app/guard", module + "/internal/app/executor", refused},
		{"internal/app/retry", module + "/internal/domain", refused},
		{"internal/app", "go.uber.org/zap", allowed},
		{"internal/app", "github.com/cenkalti/backoff/v5", allowed},
		{"internal/app", "golang.org/x/sync/errgroup", allowed},
		{"internal/app", module + "/internal/adapters/memory", refused},
		{"internal/app", module, refused},
		{"internal/app", "github.com/longhorn/go-spdk-helper/pkg/types", refused},
		{"internal/adapters/memory", module + "/internal/ports", allowed},
		{"internal/adapters/memory", module + "/internal/app", refused},
		{"internal/adapters/memory", module + "/internal/adapters/spdk", refused},
		{"internal/adapters/memory", module + "/internal/scenario", refused},
		{"internal/adapters/spdk", "github.com/longhorn/go-spdk-helper/pkg/types", allowed},
		{"internal/adapters/spdk", module + "/internal/adapters/memory", refused},
		{"internal/adapters/spdk", module + "/internal/adapters/spdk/simtarget", refused},
		{"internal/adapters/spdk", module + "/internal/adapters/spdk/rpc", allowed},
		{"internal/adapters/spdk", module + "/internal/adapters/spdk/nvmf", allowed},
		{"internal/adapters/spdk", module + "/internal/keylock", allowed},
		{"internal/adapters/spdk/nvmf", module + "/internal/adapters/spdk/rpc", allowed},
		{"internal/adapters/spdk/nvmf", module + "/internal/adapters/spdk", refused},
		{"internal/adapters/spdk/nvmetcp", module + "/internal/adapters/spdk/nvmf", refused},
		{"internal/adapters/spdk/nvmetcp", module + "/internal/adapters/spdk/nvmetcp/wire", allowed},
		{"internal/adapters/spdk/nvmetcp/wire", module + "/internal/adapters/spdk/nvmetcp", refused},
		{"internal/keylock", module + "/internal/ports", refused},
		{"internal/adapters/spdk/rpc", module + "/internal/ports", allowed},
		{"internal/adapters/spdk/rpc", module + "/internal/adapters/spdk", refused},
		{"internal/adapters/spdk/rpc", "github.com/longhorn/go-spdk-helper/pkg/types", allowed},
		{"internal/adapters/spdk/simtarget", module + "/internal/adapters/memory", allowed},
		{"internal/adapters/spdk/simtarget", module + "/internal/adapters/remote", refused},
		{"internal/adapters/remote", module + "/internal/adapters/memory", refused},
		{"internal/adapters/remote", "google.golang.org/grpc", allowed},
		{"internal/scenario", "go.yaml.in/yaml/v3", allowed},
		{"internal/scenario", "go.uber.org/fx", refused},
		{".", module + "/internal/app", allowed},
		{".", module + "/internal/adapters/memory", refused},
		{".", "go.uber.org/fx", refused},
		{"memhost", module + "/internal/adapters/memory", allowed},
		{"spdkhost", module + "/internal/adapters/spdk", allowed},
		{"spdkhost", module + "/internal/adapters/spdk/simtarget", refused},
		{"spdkhost", "go.yaml.in/yaml/v3", refused},
		{"rebuildfx", "go.uber.org/fx", allowed},
		{"rebuildfx", "github.com/spf13/cobra", refused},
		{"cmd/engine", "github.com/spf13/cobra", allowed},
		{"cmd/engine", "go.uber.org/fx", allowed},
		{"cmd/engine", module, allowed},
		{"cmd/engine", module + "/spdkhost", allowed},
		{"cmd/engine", module + "/internal/scenario", allowed},
		{"cmd/engine", module + "/internal/adapters/spdk/simtarget", allowed},
		{"cmd/engine", module + "/internal/adapters/spdk", refused},
		{"cmd/engine", module + "/internal/app", refused},
		{"cmd/engine", module + "/internal/domain", refused},
		{"cmd/engine", module + "/internal/ports", refused},
		{"journalfile", module, allowed},
		{"journalfile", module + "/internal/ports", refused},
		{"imagefile", "github.com/klauspost/compress/zstd", allowed},
		{"imagefile", module, refused},
	} {
		t.Run(c.from+" "+c.imported, func(t *testing.T) {
			require.Equal(t, c.want, objection(c.from, c.imported) == "", objection(c.from, c.imported))
		})
	}
}

func TestPurityRules(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		want   int
	}{
		"a time is a value":    {`import "time"; var t time.Time; var d = time.Minute`, 0},
		"the clock":            {`import "time"; var t = time.Now()`, 1},
		"the clock as a value": {`import "time"; var clock = time.Now`, 1},
		"under another name":   {`import clock "time"; var t = clock.Since(clock.Time{})`, 1},
		"as a dot import":      {`import . "time"; var t = Now()`, 1},
		"After of a time":      {`import "time"; func f(a, b time.Time) bool { return a.After(b) }`, 0},
		"standard output":      {`import "fmt"; func f() { fmt.Println() }`, 1},
		"a goroutine":          {`func f() { go f() }`, 1},
		"a channel":            {`var c chan int`, 1},
		"a select":             {`func f() { select {} }`, 1},
		"a formatted error":    {`import "fmt"; var err = fmt.Errorf("no")`, 0},
		"a Now of ours":        {`var time clock; func f() { time.Now() }; type clock struct{}; func (clock) Now() {}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, "a.go", "package domain\n"+c.source, 0)
			require.NoError(t, err)
			require.Len(t, impurities(fset, file), c.want)
		})
	}
}

// The example is a module of its own, like an embedder's: every embedder inherits what it
// inherits.
func TestEmbeddersInheritOnlyTheEngine(t *testing.T) {
	example := filepath.Join("examples", "embed")
	if _, err := os.Stat(filepath.Join(example, "go.mod")); errors.Is(err, fs.ErrNotExist) {
		t.Skip("there is no module in examples/embed yet")
	}
	// Read, so that the test is not cached when one of them changes.
	entries, err := os.ReadDir(example)
	require.NoError(t, err)
	for _, e := range entries {
		if e.Type().IsRegular() {
			_, err := os.ReadFile(filepath.Join(example, e.Name()))
			require.NoError(t, err)
		}
	}

	list := exec.Command("go", "list", "-deps", "./...")
	list.Dir = example
	list.Env = append(os.Environ(), "GOWORK=off")
	var stderr strings.Builder
	list.Stderr = &stderr
	out, err := list.Output()
	require.NoError(t, err, stderr.String())

	deps := strings.Fields(string(out))
	require.Contains(t, deps, module, "the example does not embed the engine")
	for _, dep := range deps {
		for other := range confined {
			if within(dep, other) {
				t.Errorf("embedders inherit %s: find out why with 'go mod why %s' in %s", dep, dep, example)
			}
		}
		if within(dep, module+"/internal/adapters/spdk") {
			t.Errorf("embedders inherit the SPDK adapter, %s", dep)
		}
	}
}

type source struct {
	dir     string // relative to the module, with slashes
	imports []imported
	fset    *token.FileSet
	syntax  *ast.File
}

type imported struct {
	path string
	at   token.Position
}

func production(file string) bool { return !strings.HasSuffix(file, "_test.go") }
func tests(file string) bool      { return !production(file) }

// sources are the Go files of this module, of all packages.
func sources(t *testing.T, wanted func(file string) bool) []source {
	t.Helper()
	var found []source
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return skipDir(file)
		case !strings.HasSuffix(file, ".go") || !wanted(file):
			return nil
		}
		fset := token.NewFileSet()
		syntax, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		s := source{dir: filepath.ToSlash(filepath.Dir(file)), fset: fset, syntax: syntax}
		for _, i := range syntax.Imports {
			s.imports = append(s.imports, imported{path: importPath(i), at: fset.Position(i.Pos())})
		}
		found = append(found, s)
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, found)
	return found
}

// skipDir skips directories that the go command does not count as part of the module.
func skipDir(dir string) error {
	if dir == "." {
		return nil
	}
	name := filepath.Base(dir)
	if name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func importPath(i *ast.ImportSpec) string {
	p, err := strconv.Unquote(i.Path.Value)
	if err != nil { // the parser has checked it
		panic(err)
	}
	return p
}
