package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/journalfile"
)

// longhorn/longhorn#5023 asks whether a rebuild was full, and why.
func TestHistoryShowsRebuild(t *testing.T) {
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

	past := history(t, w.engine("history", kept, "--output", "json"))
	require.Len(t, past.Rebuilds, 1)
	require.Equal(t, []string{"vol-1-r-0a1b2c3d on lvstore disk-1"}, past.Rebuilds[0].Sources)
	require.NotEmpty(t, past.Rebuilds[0].Plan)
}

// history decodes what the command printed as JSON.
func history(t *testing.T, told ran) (h historyResult) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(told.stdout), &h), told.stderr)
	return h
}

// On hosts without checksums the journal alone proves what was sealed.
func TestPlanUsesJournal(t *testing.T) {
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

func TestCommandsRefuseFileThatIsNoJournal(t *testing.T) {
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
	notes := filepath.Join(t.TempDir(), "notes.txt")
	require.NoError(t, os.WriteFile(notes, []byte("buy milk\n"), 0o600))
	for _, args := range [][]string{
		{"history", notes},
		{"plan", "--source", healthyAt, "--destination", hurtAt, "--journal", notes},
		{"rebuild", "--source", healthyAt, "--destination", hurtAt, "--journal", notes},
	} {
		requireOneLine(t, w.engine(args...), exitFailed, notes+": not a journal of rebuilds")
	}
	told := w.engine("history", notes, "--output", "json")
	require.Equal(t, exitFailed, told.status)
	require.Equal(t, rebuild.OutcomeFailed, history(t, told).Outcome)
	left, err := os.ReadFile(notes)
	require.NoError(t, err)
	require.Equal(t, "buy milk\n", string(left))
	require.Equal(t, before, w.stores())
}

// A running rebuild is shown, too.
func TestField_413_HistoryShowsKilledRebuild(t *testing.T) {
	from, _, args := slowRebuild(t)
	kept := filepath.Join(t.TempDir(), "rebuilds")
	command := asProcess(t, append(args, "--journal", kept)...)
	copying := make(chan struct{})
	once := sync.OnceFunc(func() { close(copying) })
	from.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
		if r.Method == "bdev_lvol_check_shallow_copy" {
			once()
		}
		return simtarget.Fault{}
	})
	require.NoError(t, command.Start())
	<-copying
	running := engine(t, "history", kept)
	require.Equal(t, exitDone, running.status, running.stderr)
	require.Contains(t, running.stdout, ": running: its process has the journal open")
	require.NoError(t, command.Process.Kill())
	require.Error(t, command.Wait())

	killed := engine(t, "history", kept)
	require.Equal(t, exitDone, killed.status)
	require.Regexp(t, `^20[^ ]*  replica v-r-2 on lvstore .*: killed: its process ended before the rebuild did; run it again\n  from v-r-1 on lvstore .*\n$`, killed.stdout)
	begun := history(t, engine(t, "history", kept, "--output", "json")).Rebuilds[0]
	require.EqualValues(t, "killed", begun.Outcome)
	require.NotEmpty(t, begun.BegunAt)
	require.Empty(t, begun.EndedAt)

	// The next rebuild is listed as well.
	from.Simulated().Inject(nil)
	again, err := journalfile.Open(journalfile.Config{Path: kept})
	require.NoError(t, err)
	require.NoError(t, again.Close())
	require.Equal(t, killed.stdout, engine(t, "history", kept).stdout)
}

// Unreadable lines are counted, too.
func TestHistoryShowsSnapshotsOfKilledRebuild(t *testing.T) {
	kept := filepath.Join(t.TempDir(), "rebuilds")
	file, err := journalfile.Open(journalfile.Config{Path: kept})
	require.NoError(t, err)
	add := func(of rebuild.Entry) {
		of.Run, of.Store, of.Lvstore = rebuild.Run{Replica: "v-r-2", ID: "0badcafe"}, "a1b2", "disk-2"
		require.NoError(t, file.Append(t.Context(), of))
	}
	add(rebuild.Entry{Began: &rebuild.Began{Sources: []string{"v-r-1 on lvstore disk-1"}}})
	add(rebuild.Entry{Sealed: &rebuild.Sealed{Snapshot: "s1"}})
	add(rebuild.Entry{Sealed: &rebuild.Sealed{Snapshot: "s2"}})
	require.NoError(t, file.Close())
	text, err := os.ReadFile(kept)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(kept, append([]byte("spoiled\n"), text...), 0o600))
	told := engine(t, "history", kept)
	require.Contains(t, told.stdout, "  finished before that: s1, s2\nwarning: 1 line of the journal cannot be read\n")
	object := history(t, engine(t, "history", kept, "--output", "json"))
	require.Equal(t, 1, object.UnreadableLines)
	require.Equal(t, []string{"s1", "s2"}, object.Rebuilds[0].Sealed)
	require.Equal(t, "no rebuilds\nwarning: 1 line of the journal cannot be read\n", engine(t, "history", kept, "--replica", "other").stdout)
}
