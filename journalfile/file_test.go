package journalfile_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/journalfile"
)

const (
	store   = "a1b2"
	replica = "vol-1-r-4e5f6a7b"
)

func open(t *testing.T, config journalfile.Config) *journalfile.File {
	t.Helper()
	f, err := journalfile.Open(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

func path(t *testing.T) string { return filepath.Join(t.TempDir(), "journal") }

func at(n int) time.Time { return time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC) }

func sealed(n int, snapshot string) rebuild.Entry {
	return rebuild.Entry{At: at(n), Run: rebuild.Run{Replica: replica, ID: "0badcafe"}, Store: store, Lvstore: "disk-2", Sealed: &rebuild.Sealed{
		Snapshot: snapshot, Sealing: sealing(n),
	}}
}

func sealing(n int) rebuild.Sealing {
	return rebuild.Sealing{Source: fmt.Sprint("source-", n), Copy: fmt.Sprint("copy-", n), SourceClusters: uint64(n), CopyClusters: uint64(n)}
}

func ended(n int) rebuild.Entry {
	return rebuild.Entry{At: at(n), Run: rebuild.Run{Replica: replica, ID: fmt.Sprintf("%08x", n)}, Store: store, Lvstore: "disk-2", Ended: &rebuild.Ended{
		Outcome: "complete", Image: "base", CopiedBytes: 1 << 20, Duration: 3 * time.Millisecond, Warnings: []string{"a\nb"},
		Steps:   []rebuild.Decided{{Action: rebuild.ActionCopy, Snapshot: "s1", Parent: "backing-image:base", Reason: "missing on the destination", Clusters: 1}},
		Deleted: []rebuild.Deletion{{Name: "vol-1-r-4e5f6a7b", Clusters: 2}, {Name: "vol-1-r-4e5f6a7b-snap-s0", Degraded: true}},
		Served: []rebuild.Served{
			{Replica: "vol-1-r-0a1b2c3d", Lvstore: "disk-1", State: "lost", Reason: "it is gone", CopiedBytes: 7},
			{Replica: "vol-1-r-8c9d0e1f", State: "primary", Snapshots: []string{"s1", ""}},
		},
	}}
}

func began(n int) rebuild.Entry {
	return rebuild.Entry{At: at(n), Run: rebuild.Run{Replica: replica, ID: fmt.Sprintf("%08x", n)}, Store: store, Began: &rebuild.Began{Sources: []string{"vol-1-r-0a1b2c3d on lvstore disk-1"}}}
}

func appendAll(t *testing.T, f *journalfile.File, entries ...rebuild.Entry) {
	t.Helper()
	for _, e := range entries {
		require.NoError(t, f.Append(context.Background(), e))
	}
}

func sealings(t *testing.T, f *journalfile.File) []rebuild.Sealing {
	t.Helper()
	found, err := f.Sealings(context.Background(), store, replica)
	require.NoError(t, err)
	return found
}

func TestAppendedEntriesAreRead(t *testing.T) {
	file := path(t)
	f := open(t, journalfile.Config{Path: file})
	all := []rebuild.Entry{began(1), sealed(2, "s1"), ended(3)}
	appendAll(t, f, all...)
	entries, err := journalfile.Read(file)
	require.NoError(t, err)
	require.Equal(t, all, entries)
}

func TestNewestSealingsSurviveRestart(t *testing.T) {
	file := path(t)
	f := open(t, journalfile.Config{Path: file})
	other := sealed(9, "s1")
	other.Run.Replica = "vol-1-r-22"
	elsewhere := sealed(8, "s1")
	elsewhere.Store = "c3d4"
	appendAll(t, f, sealed(1, "s1"), sealed(2, "s2"), sealed(3, "s1"), other, elsewhere)
	want := []rebuild.Sealing{sealing(2), sealing(3)}
	require.Equal(t, want, sealings(t, f))
	require.NoError(t, f.Close())
	require.Equal(t, want, sealings(t, open(t, journalfile.Config{Path: file})))
}

// A copy may have a sealing per source; those of the previous copy are dropped. A rewrite
// keeps them.
func TestCopyIsKnownByEachSource(t *testing.T) {
	file := path(t)
	f := open(t, journalfile.Config{Path: file, Bytes: 1})
	from := func(n int, source string) rebuild.Entry {
		e := sealed(n, "s1")
		e.Sealed.Sealing.Source = source
		return e
	}
	appendAll(t, f, from(1, "a"), from(1, "b"), from(2, "a"), from(2, "b"), from(2, "b"))
	want := []rebuild.Sealing{from(2, "a").Sealed.Sealing, from(2, "b").Sealed.Sealing}
	require.Equal(t, want, sealings(t, f))
	for n := range 50 {
		appendAll(t, f, ended(n))
	}
	require.Equal(t, want, sealings(t, f))
	require.NoError(t, f.Close())
	require.Equal(t, want, sealings(t, open(t, journalfile.Config{Path: file})))
}

func TestTornLineIsSkipped(t *testing.T) {
	file := path(t)
	f := open(t, journalfile.Config{Path: file})
	appendAll(t, f, sealed(1, "s1"), sealed(2, "s2"))
	require.NoError(t, f.Close())
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	second := strings.Index(string(text), "\n") + 1
	for torn := second; torn < len(text)-1; torn++ { // without its end alone it is whole
		require.NoError(t, os.WriteFile(file, text[:torn], 0o600))
		f, err := journalfile.Open(journalfile.Config{Path: file})
		require.NoError(t, err)
		require.Equal(t, []rebuild.Sealing{sealing(1)}, sealings(t, f), "cut after %d bytes", torn)
		// The next entry is on a line of its own.
		appendAll(t, f, sealed(3, "s3"))
		require.NoError(t, f.Close())
		f, err = journalfile.Open(journalfile.Config{Path: file})
		require.NoError(t, err)
		require.Equal(t, []rebuild.Sealing{sealing(1), sealing(3)}, sealings(t, f), "cut after %d bytes", torn)
		require.NoError(t, f.Close())
	}
}

// A sealing proves that two snapshots are equal: a flipped byte must not change which.
func TestDamagedLineProvesNothing(t *testing.T) {
	file := path(t)
	f := open(t, journalfile.Config{Path: file})
	appendAll(t, f, sealed(1, "s1"), sealed(2, "s2"))
	require.NoError(t, f.Close())
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	core, logs := observer.New(zap.WarnLevel)
	for i := range strings.Index(string(text), "\n") {
		spoiled := append([]byte(nil), text...)
		spoiled[i] ^= 0x01
		require.NoError(t, os.WriteFile(file, spoiled, 0o600))
		f, err := journalfile.Open(journalfile.Config{Path: file, Logger: zap.New(core)})
		require.NoError(t, err)
		require.Equal(t, []rebuild.Sealing{sealing(2)}, sealings(t, f), "byte %d", i)
		require.NoError(t, f.Close())
	}
	require.NotZero(t, logs.Len(), "it is said")
}

func TestOneProcessOpensJournalAtATime(t *testing.T) {
	file := path(t)
	f := open(t, journalfile.Config{Path: file})
	_, err := journalfile.Open(journalfile.Config{Path: file})
	require.ErrorIs(t, err, rebuild.ErrBusy)
	require.ErrorContains(t, err, file)
	require.NoError(t, f.Close())
	open(t, journalfile.Config{Path: file})
}

func TestJournalStaysBounded(t *testing.T) {
	file := path(t)
	config := journalfile.Config{Path: file, Bytes: 8 << 10, Runs: 5, Sealings: 10}
	f := open(t, config)
	var largest int64
	for n := range 500 {
		appendAll(t, f, sealed(n, fmt.Sprint("s", n%20)), ended(n))
		info, err := os.Stat(file)
		require.NoError(t, err)
		largest = max(largest, info.Size())
	}
	require.Less(t, largest, int64(24<<10))
	matches, err := filepath.Glob(file + "*")
	require.NoError(t, err)
	require.Equal(t, []string{file}, matches, "nothing is left beside it")
	require.NoError(t, f.Close())

	f = open(t, config)
	found := sealings(t, f)
	require.GreaterOrEqual(t, len(found), 10)
	require.Contains(t, found, sealing(499), "the newest are kept")
	entries, err := journalfile.Read(file)
	require.NoError(t, err)
	require.Equal(t, ended(499), entries[len(entries)-1])
	_, err = journalfile.Open(config)
	require.ErrorIs(t, err, rebuild.ErrBusy, "the file that was written anew is locked, too")
}

func TestConcurrentAppends(t *testing.T) {
	file := path(t)
	f := open(t, journalfile.Config{Path: file, Bytes: 4 << 10})
	var all sync.WaitGroup
	for n := range 100 {
		all.Go(func() { appendAll(t, f, sealed(n, fmt.Sprint("s", n))) })
	}
	all.Wait()
	require.Len(t, sealings(t, f), 100)
}

func TestOtherFileIsRefused(t *testing.T) {
	directory := t.TempDir()
	_, err := journalfile.Open(journalfile.Config{Path: directory})
	require.ErrorIs(t, err, rebuild.ErrInvalid)
	_, err = journalfile.Open(journalfile.Config{Path: filepath.Join(directory, "missing", "journal")})
	require.ErrorIs(t, err, os.ErrNotExist)

	f := open(t, journalfile.Config{Path: path(t)})
	require.ErrorIs(t, f.Append(context.Background(), rebuild.Entry{}), rebuild.ErrInvalid)
}

func TestClosedJournalRefusesAppend(t *testing.T) {
	f := open(t, journalfile.Config{Path: path(t)})
	require.NoError(t, f.Close())
	require.ErrorIs(t, f.Append(context.Background(), sealed(1, "s1")), os.ErrClosed)
}
