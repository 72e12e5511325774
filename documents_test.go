package rebuild_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	aTest       = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)[A-Za-z0-9_]*)\(`)
	aTestNamed  = regexp.MustCompile(`\b((?:Test|Benchmark|Fuzz)[A-Z][A-Za-z0-9_]*)(\*?)`)
	aRun        = regexp.MustCompile("(?:^|\\s)-(?:run|bench|fuzz) '?([^'\\s`|]+)")
	aLink       = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	aPath       = regexp.MustCompile("`((?:[a-z0-9._-]+/)+[a-z0-9_.-]+)`")
	aGoFile     = regexp.MustCompile("`([a-z0-9_*]+\\.go)`")
	aHeading    = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInAnchor = regexp.MustCompile(`[^a-z0-9 _-]`)
)

// files returns the text of the repository's files with that suffix, by path.
func files(t *testing.T, end string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(".", func(at string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && at != ".":
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(at, end):
			return nil
		}
		text, err := os.ReadFile(at)
		found[filepath.ToSlash(at)] = string(text)
		return err
	})
	require.NoError(t, err)
	return found
}

// `TestField_10909_*` in a document is any test with that prefix, and the argument of -run
// is a regular expression.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	var tests []string
	for _, text := range files(t, "_test.go") {
		for _, found := range aTest.FindAllStringSubmatch(text, -1) {
			tests = append(tests, found[1])
		}
	}
	exists := func(matches func(string) bool) bool {
		for _, test := range tests {
			if matches(test) {
				return true
			}
		}
		return false
	}
	named := 0
	for document, text := range files(t, ".md") {
		for _, found := range aRun.FindAllStringSubmatch(text, -1) {
			if found[1] == "^$" {
				continue
			}
			pattern, err := regexp.Compile(found[1])
			require.NoError(t, err, "%s: -run %s", document, found[1])
			require.True(t, exists(pattern.MatchString), "%s: -run %s runs no test", document, found[1])
			named++
		}
		for _, found := range aTestNamed.FindAllStringSubmatch(aRun.ReplaceAllString(text, ""), -1) {
			name := found[1]
			matches := func(test string) bool { return test == name }
			if found[2] != "" {
				matches = func(test string) bool { return strings.HasPrefix(test, name) }
			}
			require.True(t, exists(matches), "%s: there is no test %s%s", document, name, found[2])
			named++
		}
	}
	require.Greater(t, named, 40)
}

// Files are named by links and in backticks.
func TestDocumentsNameFilesThatExist(t *testing.T) {
	documents, sources := files(t, ".md"), make(map[string]bool)
	for file := range files(t, ".go") {
		sources[path.Base(file)] = true
	}
	for document, text := range documents {
		for _, link := range aLink.FindAllStringSubmatch(text, -1) {
			at := path.Join(path.Dir(document), link[1])
			require.FileExists(t, fileOrDir(t, at), "%s links to %s", document, link[1])
			if link[2] != "" {
				require.Contains(t, anchors(documents[at]), link[2], "%s links to %s", document, link[0])
			}
		}
		for _, found := range regexp.MustCompile(`\]\((#[^)]*)\)`).FindAllStringSubmatch(text, -1) {
			require.Contains(t, anchors(text), found[1], "%s", document)
		}
		for _, found := range aGoFile.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(found[1], "*") {
				require.True(t, sources[found[1]], "%s names %s", document, found[1])
			}
		}
		for _, found := range aPath.FindAllStringSubmatch(text, -1) {
			first, _, _ := strings.Cut(found[1], "/")
			if info, err := os.Stat(first); err == nil && info.IsDir() {
				require.FileExists(t, fileOrDir(t, found[1]), "%s names %s", document, found[1])
			}
		}
	}
}

// fileOrDir is the path of a file, or of the file that stands for a directory.
func fileOrDir(t *testing.T, at string) string {
	t.Helper()
	if info, err := os.Stat(at); err == nil && info.IsDir() {
		return "go.mod"
	}
	return at
}

// anchors are the anchors of the headings.
func anchors(text string) (all []string) {
	for _, heading := range aHeading.FindAllStringSubmatch(text, -1) {
		anchor := notInAnchor.ReplaceAllString(strings.ToLower(heading[1]), "")
		all = append(all, "#"+strings.ReplaceAll(anchor, " ", "-"))
	}
	return all
}
