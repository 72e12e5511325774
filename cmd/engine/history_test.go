package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// longhorn/longhorn#5023: was it a full rebuild, and why?
func TestARebuildCanBeLookedUpLater(t *testing.T) {
	w := newWorld(t, twoHosts)
	kept := filepath.Join(t.TempDir(), "rebuilds")
	args := []string{"--source", healthyAt, "--destination", hurtAt, "--journal", kept}
	require.Equal(t, exitDone, w.engine(append([]string{"plan"}, args...)...).status, "there is no journal yet")
	require.NoFileExists(t, kept, "a plan changes nothing")
	ran := w.engine(append([]string{"rebuild"}, args...)...)
	require.Equal(t, exitDone, ran.status, "%s", ran.stderr)

	told := w.engine("history", kept)
	require.Equal(t, exitDone, told.status)
	took := regexp.MustCompile(`copied in .*`).ReplaceAllString(told.stdout, "copied in 31ms")
	requireGolden(t, "history.txt", regexp.MustCompile(`(?m)^20[^ ]*`).ReplaceAllString(took, "2026-01-01T12:00:00Z"))
	require.Equal(t, "no rebuilds\n", w.engine("history", kept, "--replica", "vol-2-r-1").stdout)

	told = w.engine("history", kept, "--output", "json")
	var past historyResult
	require.NoError(t, json.Unmarshal([]byte(told.stdout), &past))
	require.Len(t, past.Rebuilds, 1)
	require.Equal(t, []string{"vol-1-r-1 on lvstore disk-1"}, past.Rebuilds[0].Sources)
	require.NotEmpty(t, past.Rebuilds[0].Plan)
}

// Where hosts tell no checksums the journal alone proves what was sealed.
func TestAPlanBelievesTheJournal(t *testing.T) {
	w := newWorld(t, upstream(twoHosts))
	kept := filepath.Join(t.TempDir(), "rebuilds")
	args := []string{"--source", healthyAt, "--destination", hurtAt, "--journal", kept}
	ran := w.engine(append([]string{"rebuild"}, args...)...)
	require.Equal(t, exitDone, ran.status, "%s", ran.stderr)
	require.Contains(t, w.engine(append([]string{"plan"}, args...)...).stdout, "both are unchanged since")
	require.NotContains(t, w.engine(append([]string{"plan"}, args[:4]...)...).stdout, "unchanged since")
}

func upstream(text string) string {
	return regexp.MustCompile(`(?m)^destination:$`).ReplaceAllString(text, "destination:\n  flavour: upstream")
}

func TestAFileThatIsNoJournalIsRefused(t *testing.T) {
	w := newWorld(t, twoHosts)
	before := w.stores()
	for _, args := range [][]string{
		{"history", filepath.Join(t.TempDir(), "nope")},
		{"rebuild", "--source", healthyAt, "--destination", hurtAt, "--journal", t.TempDir()},
	} {
		told := w.engine(args...)
		require.Equal(t, exitFailed, told.status)
		require.Regexp(t, `^engine: .*journal.*\n$`, told.stderr)
		require.Empty(t, told.stdout)
	}
	garbage := filepath.Join(t.TempDir(), "garbage")
	require.NoError(t, os.WriteFile(garbage, []byte("garbage\n"), 0o600))
	require.Equal(t, "no rebuilds\n", w.engine("history", garbage).stdout)
	require.Equal(t, before, w.stores())
}
