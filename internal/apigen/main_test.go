package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const moduleRoot = "../.."

func TestGeneratedFilesAreCurrent(t *testing.T) {
	files, err := generate(moduleRoot)
	require.NoError(t, err)
	for name, want := range files {
		is, err := os.ReadFile(filepath.Join(moduleRoot, filepath.FromSlash(name)))
		require.NoError(t, err)
		if string(want) != string(is) {
			t.Errorf("%s is out of date: run `go generate .` in the module's root", name)
		}
	}
}

func TestMentionOfHiddenSymbolIsRefused(t *testing.T) {
	internal := make(map[string]*internalPackage)
	for _, e := range faces[0].exports {
		p, err := load(moduleRoot, e.dir)
		require.NoError(t, err)
		internal[e.dir] = p
	}
	names := &naming{internal: make(map[string]*internalPackage), unknown: make(map[string]bool)}
	for _, p := range internal {
		names.internal[p.Name] = p
	}
	names.text("See domain.StoreModel and time.Time.")
	require.EqualError(t, names.missing(), "domain.StoreModel: mentioned, but not public; add it to faces.go")
}

// Readers of go doc do not know internal packages.
func TestNoCommentNamesInternalPackage(t *testing.T) {
	files, err := generate(moduleRoot)
	require.NoError(t, err)
	inside := regexp.MustCompile(`internal/|\b(app|domain|ports|porttest|memory|spdk)\.[A-Z]`)
	for name, content := range files {
		for line := range strings.Lines(string(content)) {
			if strings.HasPrefix(line, "//") && !strings.HasPrefix(line, "// Code generated") {
				require.NotRegexp(t, inside, line, name)
			}
		}
	}
}
