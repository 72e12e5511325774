package app_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/journalfile"
)

func openJournal(t *testing.T, path string) *journalfile.File {
	t.Helper()
	f, err := journalfile.Open(journalfile.Config{Path: path})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// Rule 7 on hosts without checksums: a journal that has survived a restart of
// the engine proves what an earlier run has sealed.
func TestJournalReplacesProofsOfHosts(t *testing.T) {
	b, request := newDamagedFixture(t, memory.Upstream, memory.Upstream)
	path := filepath.Join(t.TempDir(), "journal")
	kept := openJournal(t, path)
	request.Journal = kept
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	require.NoError(t, kept.Close())

	request.Journal = openJournal(t, path)
	report, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	require.Zero(t, report.CopiedBytes, "all of it is proven")
	requireEqualViews(t, b, sourceName, copyName, true)

	// What was forged since has other clusters than when it was sealed.
	destination := list(t, b.destination, copyName)
	snap13, _ := destination.Snapshot("snap13")
	require.NoError(t, b.destination.Delete(context.Background(), snap13.Lvol.UUID))
	snap12, _ := destination.Snapshot("snap12")
	newBuilder(t, b.destination, copyName, "").snapshot("snap13", snap12.Lvol.UUID, 8, map[int]byte{2: 0xEE}, snap13.Lvol.Attributes)
	report, err = app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	require.Equal(t, uint64(cluster), report.CopiedBytes, "another lvol of that name is not what was sealed")
	requireEqualViews(t, b, sourceName, copyName, true)

	request.Journal = nil
	plan, err := app.New(nil).Plan(context.Background(), request)
	require.NoError(t, err)
	require.NotZero(t, plan.CopiedClusters(), "without the journal nothing is proven")
}

func TestJournalRecordsStepsAndReasons(t *testing.T) {
	_, request := newDamagedFixture(t, memory.Fork, memory.Fork)
	path := filepath.Join(t.TempDir(), "journal")
	request.Journal = openJournal(t, path)
	report, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	entries, err := journalfile.Read(path)
	require.NoError(t, err)
	require.Equal(t, []string{"vol-1-r-0a1b2c3d on lvstore disk-1"}, entries[0].Began.Sources)
	sealed := make(map[string]bool)
	for _, e := range entries[1 : len(entries)-1] {
		require.Equal(t, entries[0].Run, e.Run)
		sealed[e.Sealed.Snapshot] = true
	}
	end := entries[len(entries)-1].Ended
	require.Equal(t, "complete", end.Outcome)
	require.Equal(t, imageName, end.Image)
	require.Equal(t, report.CopiedBytes, end.CopiedBytes)
	require.Len(t, end.Steps, len(report.Plan.Steps))
	for _, s := range end.Steps {
		require.NotEmpty(t, s.Reason)
		if s.Action == domain.ActionCopy {
			require.True(t, sealed[s.Snapshot], s.Snapshot)
		}
	}
}

func TestJournalRecordsRefusedAndFailedRuns(t *testing.T) {
	b, request := newDamagedFixture(t, memory.Fork, memory.Fork)
	path := filepath.Join(t.TempDir(), "journal")
	request.Journal = openJournal(t, path)
	request.Base = domain.ImageBase("other")
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.ErrorIs(t, err, app.ErrRefused)
	request.Base = domain.Base{}
	inject(b.source, on("copy").fails(ports.ErrInvalid))
	_, err = app.New(nil).Rebuild(context.Background(), request)
	require.Error(t, err)
	entries, err := journalfile.Read(path)
	require.NoError(t, err)
	require.Equal(t, "refused", entries[0].Ended.Outcome)
	require.Contains(t, entries[0].Ended.Error, "other")
	last := entries[len(entries)-1].Ended
	require.Equal(t, "failed", last.Outcome)
	require.Contains(t, last.Error, "copy")
}

// The snapshot of the source's head is a change: what is killed after it has begun.
func TestJournalRecordsBeginningBeforeChanges(t *testing.T) {
	b, request := newDamagedFixture(t, memory.Fork, memory.Fork)
	source := list(t, b.source, sourceName)
	require.NoError(t, b.source.WriteAt(source.Head.UUID, []byte{1}, 0))
	path := filepath.Join(t.TempDir(), "journal")
	request.Journal = openJournal(t, path)
	frozen := on("snapshot").does(func() {
		read, err := journalfile.ReadAll(path)
		require.NoError(t, err)
		require.Len(t, read.Running, 1)
	})
	inject(b.source, frozen)
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	require.Positive(t, frozen.calls())
	read, err := journalfile.ReadAll(path)
	require.NoError(t, err)
	require.Empty(t, read.Running)
	began := 0
	for _, e := range read.Entries {
		if e.Began != nil {
			began++
		}
	}
	require.Equal(t, 1, began, "once, however often it was planned")
}

// brokenJournal is on a disk that is full.
type brokenJournal struct{}

func (brokenJournal) Append(context.Context, ports.Entry) error { return errors.New("disk full") }
func (brokenJournal) Sealings(context.Context, string, string) ([]domain.Sealing, error) {
	return nil, errors.New("disk broken")
}

func TestFailingJournalFailsNoRebuild(t *testing.T) {
	b, request := newDamagedFixture(t, memory.Fork, memory.Fork)
	request.Journal = brokenJournal{}
	core, logs := observer.New(zap.WarnLevel)
	_, err := app.New(zap.New(core)).Rebuild(context.Background(), request)
	require.NoError(t, err)
	requireEqualViews(t, b, sourceName, copyName, true)
	require.NotZero(t, logs.FilterField(zap.Error(errors.New("disk broken"))).Len())
}
