package app_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

// What faults at every call have found, each by itself.

// The image that an attempt could not clean up stayed when the next one had brought
// its own.
func TestInFlightImageOfEarlierAttemptIsDeleted(t *testing.T) {
	p := replayed(t, "missing-image/fork-fork/counts/1: source look 1 not-found; +4 unavailable")
	require.Equal(t, 2, failAsDrawn(t, p, "TestInFlightImageOfEarlierAttemptIsDeleted"))
}

// A lvol that could be listed and not be looked at was taken for deleted: the old
// head stood on what was changed under it.
func TestFailedListDoesNotConfirmDelete(t *testing.T) {
	p := replayed(t, "small-image/fork-fork/counts/1: destination look 1 busy; +1 not-found lasting")
	require.Equal(t, 2, failAsDrawn(t, p, "TestFailedListDoesNotConfirmDelete"))
}

// A snapshot was sealed with wrong bytes, and its child with the right ones. The next run
// detached the child, to copy the parent again, and failed: the child had no parent then,
// as rule 4 allows. The run after that grafts it.
func TestProvenSnapshotMayStayLooseWhenRebuildFails(t *testing.T) {
	for _, run := range []string{
		"no-image/fork-fork/proof/1: source copy 3 other-bytes, then destination look 2 not-found",
		"no-image/fork-fork/counts/1: source copy 3 other-place, then destination graft 3 unavailable lasting",
	} {
		require.Equal(t, 2, failAsDrawn(t, replayed(t, run), t.Name()))
	}
}

// The target gave no answer to the snapshot that a seal is, so what was left of the
// lvol stayed. Of a replica's the plan is made again; of an image's it was there for
// good.
func TestInterruptedSealIsFinished(t *testing.T) {
	p := replayed(t, "missing-image/upstream-upstream/counts/1: destination bdev_lvol_snapshot 1 rpc-garbled")
	failCallOnce(t, p)
}

// Helpers that the adapter made, and could not remove since its target had died or
// closed the connection, stayed though the engine lived and the target was back.
func TestHelpersOfAFailedRebuildAreRemovedOrSaid(t *testing.T) {
	for _, run := range []string{
		"branching/fork-fork/counts/1: destination bdev_get_bdevs 18 rpc-closed lasting",
		"branching/fork-fork/counts/1: destination bdev_lvol_clone 3 rpc-target-dies-having-done-it",
		"branching/fork-fork/counts/1: destination bdev_lvol_clone 3 rpc-target-dies-having-done-it lasting",
		"no-image/fork-fork/counts/1: source bdev_get_bdevs 3 rpc-target-dies-having-done-it",
	} {
		p := replayed(t, run)
		failCallOnce(t, p)
	}
}

// "Clean up, the next run will", said the error; but the next run found that all was
// done, and closed nothing.
func TestEmptyPlanClosesLeftoverExports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		rebuildCleanly(t, request)
		left := ports.Run{Replica: copyName, Store: list(t, b.destination, copyName).Store.UUID, ID: "0badcafe"}
		_, err := b.destination.Receive(t.Context(), left, list(t, b.destination, copyName).Head.UUID, "somebody")
		require.NoError(t, err)
		rebuildCleanly(t, request)
		opened, err := b.destination.Opened(t.Context())
		require.NoError(t, err)
		require.Empty(t, opened)
	})
}

// A store may answer "busy" to whatever it is asked (ports): nothing was done, and
// it is asked again. Rebuilds ended with it when it came to a list, a create, or the
// snapshot of the source's head.
func TestWhateverIsBusyIsWaitedFor(t *testing.T) {
	for side, methods := range map[string][]string{
		"source":      {"list", "look", "snapshot", "peer", "copy", "release"},
		"destination": {"list", "look", "create", "receive", "withdraw", "graft", "seal", "delete", "clone", "release"},
	} {
		for _, method := range methods {
			t.Run(method+" on the "+side, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, request := newDamagedFixture(t, memory.Fork, memory.Fork)
					host := map[string]*memory.Host{"source": b.source, "destination": b.destination}[side]
					failFirst(host, method, 3, memory.Fault{Before: ports.ErrBusy})
					_, err := app.New(nil).Rebuild(t.Context(), request)
					require.NoError(t, err)
					requireEqualViews(t, b, sourceName, copyName, true)
				})
			})
		}
	}
}

// It is not waited for without end.
func TestPermanentlyBusyLvolEndsRebuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		failFirst(b.destination, "create", 1_000_000, memory.Fault{Before: ports.ErrBusy})
		began := time.Now()
		_, err := app.New(nil).Rebuild(t.Context(), request)
		require.ErrorIs(t, err, ports.ErrBusy)
		require.InDelta(t, 10*time.Minute, time.Since(began), float64(time.Minute))
	})
}

// A rebuild that had done everything failed because the last release of what it
// had opened was not answered.
func TestLostReleaseFailsNoRebuild(t *testing.T) {
	for _, parallel := range []int{1, 4} {
		for _, side := range []string{"source", "destination"} {
			synctest.Test(t, func(t *testing.T) {
				b, request := newPlainFixture(t)
				request.Parallel = parallel
				host := map[string]*memory.Host{"source": b.source, "destination": b.destination}[side]
				releases := on("release").nth(2).fails(ports.ErrUnavailable) // the first is the sweep at the beginning
				inject(host, releases)
				report, err := app.New(nil).Rebuild(t.Context(), request)
				require.NoError(t, err)
				require.Equal(t, app.OutcomeComplete, report.Outcome)
				require.Equal(t, 3, releases.calls())
				opened, err := host.Opened(t.Context())
				require.NoError(t, err)
				require.Empty(t, opened)
			})
		}
	}
}

// A snapshot was copied a second time because the answer to the withdrawal after
// the copy was lost.
func TestLostWithdrawalIsRetriedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		failFirst(b.destination, "withdraw", 2, memory.Fault{After: ports.ErrUnavailable})
		report, err := app.New(nil).Rebuild(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, report.CopiedBytes, b.source.Sent())
	})
}

// Views were compared when the head was there already: an error said that they
// differ, and a replica that everybody takes for whole stayed.
func TestDifferingViewsPreventTheHead(t *testing.T) {
	for _, f := range allFlavours {
		for _, parallel := range []int{1, 4} {
			t.Run(f.String(), func(t *testing.T) {
				b, request := trial{world: faultScenarios[0], flavours: f, parallel: parallel}.build(t)
				request.Views = true
				inject(b.source, on("copy").of("snap12").gets(memory.Fault{Spoil: memory.SpoilBytes}))
				report, err := app.New(nil).Rebuild(t.Context(), request)
				require.ErrorIs(t, err, ports.ErrCorrupt)
				require.NotEmpty(t, report.Violations)
				require.Nil(t, list(t, b.destination, copyName).Head)
				b.source.Inject(nil)
				request.Views = false
				rebuildCleanly(t, request)
				requireEqualViews(t, b, sourceName, copyName, true)
			})
		}
	}
}

// One view that could not be read at the first attempt ended a rebuild of hours.
func TestViewReadIsRetried(t *testing.T) {
	for _, method := range []string{"open", "read"} {
		for _, side := range []string{"source", "destination"} {
			t.Run(method+" on the "+side, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, request := newPlainFixture(t)
					request.Views = true
					host := map[string]*memory.Host{"source": b.source, "destination": b.destination}[side]
					failFirst(host, method, 2, memory.Fault{Before: ports.ErrUnavailable})
					report, err := app.New(nil).Rebuild(t.Context(), request)
					require.NoError(t, err)
					require.Len(t, report.DestinationViews, len(list(t, b.destination, copyName).Snapshots)+1)
				})
			})
		}
	}
}

// So did a release that was not answered, where nothing was to be done but to read.
func TestAuditRetriesTransientFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		rebuildCleanly(t, request)
		request.Views = true
		failFirst(b.destination, "release", 2, memory.Fault{Before: ports.ErrUnavailable})
		_, err := app.New(nil).Rebuild(t.Context(), request)
		require.NoError(t, err)
	})
}

// What a volume uses is not waited for, but said.
func TestViewInUseFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		request.Views = true
		used, err := b.source.Open(context.Background(), ports.Run{Replica: "somebody", ID: "00000000"}, list(t, b.source, sourceName).Head.UUID)
		require.NoError(t, err)
		alive, err := b.source.Claim(t.Context(), "run 00000000")
		require.NoError(t, err)
		defer alive()
		defer used.Close()
		began := time.Now()
		_, err = app.New(nil).Rebuild(t.Context(), request)
		require.ErrorIs(t, err, ports.ErrBusy)
		require.Zero(t, time.Since(began))
	})
}

// An attempt could not clean up, the rebuild was planned again, and that failed, too:
// the error said nothing of what the first one had left.
func TestFailedCleanupOfEarlierAttemptIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		request.Parallel = 1
		failFirst(b.source, "look", 1, memory.Fault{Before: ports.ErrNotFound}) // it seems to be gone: plan again
		inject(b.destination, on("list").from(2).fails(ports.ErrUnavailable))   // from the cleanup on
		_, err := app.New(nil).Rebuild(t.Context(), request)
		require.ErrorIs(t, err, ports.ErrUnavailable)
		require.ErrorIs(t, err, app.ErrCleanUp)
		b.destination.Inject(nil)
		require.NotEmpty(t, list(t, b.destination, copyName).InFlight)
	})
}

// With copies beside each other, a snapshot is told before its seal has ended. When the
// answer to the last call of the seal was lost, the snapshot was taken for the lvol in
// flight: the rebuild said that the source's snapshot is gone, and was planned again.
// Upstream, where nothing is proven, it copied the snapshot twice. The race detector sees
// a part; make test plays all of them without it.
func TestLostAnswerAtTheEndOfASealIsSettled(t *testing.T) {
	t.Parallel()
	for _, f := range []flavours{{memory.Fork, memory.Fork}, {memory.Upstream, memory.Upstream}} {
		clean := trial{world: faultScenarios[0], flavours: f, verify: verifyCounts, parallel: app.DefaultParallel}
		step, struck := 1, 0
		if raceDetector {
			step = 8
		}
		for i, p := range callsInBubble(t, clean) {
			if p.side != "destination" || p.method != "bdev_lvol_snapshot" && p.method != "bdev_lvol_delete" {
				continue
			}
			for _, lost := range []string{"rpc-closed", "rpc-closed-though-done"} {
				kind, known := kindNamed(lost)
				require.True(t, known)
				if struck++; (i+struck)%step == 0 {
					failCallOnce(t, clean.with(injection{faultPoint: p, kind: kind}))
				}
			}
		}
		require.Greater(t, struck, 30)
	}
}
