package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersionPrintsBuildInfo(t *testing.T) {
	info := &debug.BuildInfo{
		GoVersion: "go1.26.0", Main: debug.Module{Path: "github.com/rootgraft/rebuild", Version: "v1.2.3"},
		Settings: []debug.BuildSetting{
			{Key: "-trimpath", Value: "true"},
			{Key: "vcs.revision", Value: "0badcafe"},
			{Key: "vcs.time", Value: "2026-01-01T00:00:00Z"},
			{Key: "vcs.modified", Value: "true"},
		},
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	require.Equal(t, "engine v1.2.3\n  revision 0badcafe of 2026-01-01T00:00:00Z, modified since\n"+
		"  module   github.com/rootgraft/rebuild\n  built by go1.26.0 for "+platform+"\n", versionOf(info).text())
	info.Settings = nil
	require.Equal(t, "engine v1.2.3\n  module   github.com/rootgraft/rebuild\n  built by go1.26.0 for "+platform+"\n", versionOf(info).text())
	require.Equal(t, "engine of an unknown version\n  module   unknown\n  built by "+runtime.Version()+" for "+platform+"\n", versionOf(&debug.BuildInfo{}).text())
}

func TestVersionCommandAndFlagAgree(t *testing.T) {
	told := engine(t, "version")
	require.Equal(t, exitDone, told.status)
	require.Contains(t, told.stdout, runtime.Version())
	require.Equal(t, told, engine(t, "--version"))

	told = engine(t, "version", "--output", "json")
	require.Equal(t, exitDone, told.status)
	var v versionResult
	require.NoError(t, json.Unmarshal([]byte(told.stdout), &v))
	require.Equal(t, "rebuild/v1", v.APIVersion)
	require.EqualValues(t, "complete", v.Outcome)
	require.Equal(t, runtime.Version(), v.Go)
	requireShortLine(t, engine(t, "version", "more"), exitUsage, "expected 0 arguments")
}

func TestBuiltProgramPrintsRevision(t *testing.T) {
	// go build records no revision in a linked worktree, whose .git is a file.
	if info, err := os.Stat(filepath.Join("..", "..", ".git")); err != nil || !info.IsDir() {
		t.Skip("not in a clone of the repository: go build has no revision to record")
	}
	head, err := exec.Command("git", "rev-parse", "HEAD").Output()
	require.NoError(t, err)
	program := filepath.Join(t.TempDir(), "engine")
	out, err := exec.Command("go", "build", "-buildvcs=true", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	told, err := exec.Command(program, "version", "--output", "json").Output()
	require.NoError(t, err)
	var v versionResult
	require.NoError(t, json.Unmarshal(told, &v))
	require.Equal(t, string(head), v.Revision+"\n")
	require.Equal(t, "github.com/rootgraft/rebuild", v.Module)
	require.NotEmpty(t, v.RevisedAt)
}
