package scenario_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/scenario"
)

// smallest is a complete scenario: each case below breaks one part of it.
const smallest = `apiVersion: rebuild/v1
volume: {name: vol-1, size: 16MiB}
source: {}
`

func TestInvalidFilesRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, message string }{
		"an empty file":                      {"", `f.yaml: expected a scenario that begins with apiVersion: rebuild/v1, got an empty file`},
		"nothing but comments":               {"# soon\n", `f.yaml: expected a scenario that begins with apiVersion: rebuild/v1, got an empty file`},
		"an empty document":                  {"---\n", `f.yaml:2: expected a scenario that begins with apiVersion: rebuild/v1, got nothing`},
		"a text":                             {"hello\n", `f.yaml:1: expected a scenario that begins with apiVersion: rebuild/v1, got "hello"`},
		"a list":                             {"\n- a\n", `f.yaml:2: expected a scenario that begins with apiVersion: rebuild/v1, got a list`},
		"two documents":                      {smallest + "---\n" + smallest, `f.yaml:4: expected one document, got a second one`},
		"a second document that is broken":   {smallest + "---\na: [\n", `f.yaml:6: not YAML: did not find expected node content`},
		"no apiVersion":                      {"volume: {}\n", `f.yaml:1: apiVersion: missing, expected rebuild/v1`},
		"another apiVersion":                 {"kind: Pod\napiVersion: v1\n", `f.yaml:2: apiVersion: expected rebuild/v1, got "v1"`},
		"an apiVersion that is a list":       {"apiVersion: [rebuild/v1]\n", `f.yaml:1: apiVersion: expected rebuild/v1, got a list`},
		"an apiVersion of nothing":           {"apiVersion:\n", `f.yaml:1: apiVersion: expected rebuild/v1, got nothing`},
		"bytes that are no text":             {"apiVersion: rebuild/v1\n# \xff\n", `f.yaml:2: expected text in UTF-8, got byte 0xff`},
		"a control character":                {"apiVersion: \x01\n", `f.yaml:1: expected text in UTF-8, got byte 0x01`},
		"UTF-16":                             {"\xff\xfea\x00", `f.yaml:1: expected text in UTF-8, got byte 0xff`},
		"a control character beyond ASCII":   {"a: \u0081\n", `f.yaml: not YAML: control characters are not allowed`},
		"an unknown anchor":                  {"a: *b\n", `f.yaml: not YAML: unknown anchor 'b' referenced`},
		"an unknown anchor of many bytes":    {"a: *" + strings.Repeat("b", 9999) + "\n", `f.yaml: not YAML: "unknown anchor 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"…`},
		"deep nesting":                       {strings.Repeat("[", 1<<20), `f.yaml: not YAML: exceeded max depth of 10000`},
		"nesting that is not too deep":       {strings.Repeat("[", 5000) + strings.Repeat("]", 5000), `f.yaml:1: expected a scenario that begins with apiVersion: rebuild/v1, got a list`},
		"an indentation by tab":              {"a: 1\nb:\n\tc: 1\n", `f.yaml:3: not YAML: found character that cannot start any token`},
		"a list without its end":             {"a: 1\nb: [1, 2\nc: 3\n", `f.yaml:2: not YAML: did not find expected ',' or ']'`},
		"a quote without its end":            {"a: 1\nb: 'x\n", `f.yaml:2: not YAML: found unexpected end of stream`},
		"a field where none can be":          {"a: 1\n b: 2\n", `f.yaml:2: not YAML: mapping values are not allowed in this context`},
		"a broken first line":                {"a: b: c\n", `f.yaml:1: not YAML: mapping values are not allowed in this context`},
		"an unknown tag handle":              {"a: 1\nb: !x!y 1\n", `f.yaml:2: not YAML: found undefined tag handle`},
		"a megabyte of one letter":           {strings.Repeat("a", 1<<20), `f.yaml:1: expected a scenario that begins with apiVersion: rebuild/v1, got "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"…`},
		"a file that is too large":           {strings.Repeat("#", 16<<20+1), `f.yaml: expected a file of at most 16MiB`},
		"a value with newlines and controls": {"\"a\\nb\\e\\u202e\"", `f.yaml:1: expected a scenario that begins with apiVersion: rebuild/v1, got "a\nb\x1b\u202e"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := scenario.ParseBytes("f.yaml", "", []byte(c.text))
			requireProblem(t, err, c.message)
		})
	}
}

func TestUnreadableFilesRefused(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing.yaml")
	large := filepath.Join(dir, "large.yaml")
	require.NoError(t, os.WriteFile(large, bytes.Repeat([]byte("#"), 16<<20+1), 0o600))
	for name, c := range map[string]struct{ path, message string }{
		"a file that is not there":          {missing, missing + ": cannot be read: no such file or directory"},
		"a directory":                       {dir, dir + ": expected a scenario file, got a directory"},
		"a file that is too large":          {large, large + ": expected a file of at most 16MiB"},
		"a path with a newline":             {"a\nb", `"a\nb": cannot be read: no such file or directory`},
		"a path below what is no directory": {large + "/x", large + "/x: cannot be read: not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := scenario.Parse(c.path)
			requireProblem(t, err, c.message)
		})
	}
}

func TestAliasesAndAliasBombs(t *testing.T) {
	aliased := `apiVersion: rebuild/v1
volume: {name: vol-1, size: &size 16MiB}
source:
  snapshots:
    - {name: snap11, size: *size, writes: &writes [{offset: 0, length: 1MiB, seed: 1}]}
    - {name: snap12, parent: snap11, writes: *writes}
`
	s, err := scenario.ParseBytes("f.yaml", "", []byte(aliased))
	require.NoError(t, err)
	require.Equal(t, s.Source.Snapshots[0].Writes, s.Source.Snapshots[1].Writes)

	bomb := strings.Builder{}
	bomb.WriteString("apiVersion: rebuild/v1\nvolume: {name: vol-1, size: 16MiB}\nsource:\n  snapshots:\n")
	bomb.WriteString("    - {name: s0, writes: &w [" + strings.Repeat("{offset: 0, length: 0, seed: 0}, ", 10_000) + "]}\n")
	for range 10_000 {
		bomb.WriteString("    - {name: s1, writes: *w}\n")
	}
	_, err = scenario.ParseBytes("f.yaml", "", []byte(bomb.String()))
	requireProblem(t, err, "f.yaml:5: source.snapshots[71].writes[4232]: expected at most 5000000 values, got more, with aliases expanded")

	_, err = scenario.ParseBytes("f.yaml", "", []byte("apiVersion: rebuild/v1\nvolume: &v {name: *v}\nsource: {}\n"))
	requireProblem(t, err, "f.yaml:2: volume.name: expected a name, got a mapping")
}

// requireProblem checks the whole text of an error, and that it is one line.
func requireProblem(t *testing.T, err error, message string) {
	t.Helper()
	require.Error(t, err)
	var bad *scenario.Error
	require.ErrorAs(t, err, &bad)
	require.Equal(t, message, err.Error())
	requireOneLine(t, err)
}

func requireOneLine(t *testing.T, err error) {
	t.Helper()
	require.NotContains(t, err.Error(), "\n")
	require.NotContains(t, err.Error(), "\r")
	require.Less(t, len(err.Error()), 1200)
}
