package app_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// newPlainFixture makes the field's tree on the source, and nothing on the
// destination but the image.
func newPlainFixture(t tester) (*fixture, app.Request) {
	t.Helper()
	return newPlainFixtureOn(t, memory.Fork)
}

func newPlainFixtureOn(t tester, flavour memory.Flavour) (*fixture, app.Request) {
	t.Helper()
	b := newFixture(t, memory.Config{Flavour: flavour}, memory.Config{Flavour: flavour})
	newBuilder(t, b.source, sourceName, makeImage(t, b.source, 4)).build(fieldTree(10))
	makeImage(t, b.destination, 4)
	request := b.request()
	return b, request
}

// calls counts what a host is asked for, by method.
func calls(host *memory.Host) map[string]int {
	var mu sync.Mutex
	counts := make(map[string]int)
	host.Inject(func(c memory.Call) memory.Fault {
		mu.Lock()
		defer mu.Unlock()
		counts[c.Method]++
		return memory.Fault{}
	})
	return counts
}

func TestSecondRebuildChangesNothing(t *testing.T) {
	b, request := newPlainFixture(t)
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	before := contents(t, b.destination)

	counts := calls(b.destination)
	report, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	require.Equal(t, before, contents(t, b.destination))
	require.Zero(t, report.CopiedBytes)
	for _, method := range []string{"create", "copy", "graft", "seal", "clone", "delete", "receive", "record"} {
		require.Zero(t, counts[method], "%s calls", method)
	}
}

func TestMissingHeadRecordIsAdded(t *testing.T) {
	b, request := newPlainFixture(t)
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	head := list(t, b.destination, copyName).Head
	require.NoError(t, b.destination.Record(context.Background(), head.UUID, ""))

	report, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	require.Len(t, report.Plan.Operations, 1)
	now := list(t, b.destination, copyName).Head
	require.Equal(t, head.UUID, now.UUID)
	require.Equal(t, imageName, now.Record)
}

func TestSecondRebuildOfAReplicaIsRefused(t *testing.T) {
	b, request := newPlainFixture(t)
	engine := app.New(nil)
	copying, goOn := make(chan struct{}), make(chan struct{})
	inject(b.source, on("copy").once().does(func() { close(copying); <-goOn }))
	first := make(chan error)
	go func() {
		_, err := engine.Rebuild(context.Background(), request)
		first <- err
	}()
	<-copying
	_, err := engine.Rebuild(context.Background(), request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "is in use by the rebuild of replica vol-1-r-4e5f6a7b on lvstore disk-2")
	close(goOn)
	require.NoError(t, <-first)
	requireEqualViews(t, b, sourceName, copyName, true)
}

func TestCancelledRebuildKeepsSealedSnapshots(t *testing.T) {
	b, request := newPlainFixture(t)
	request.Parallel = 1
	ctx, cancel := context.WithCancel(context.Background())
	inject(b.source, on("copy").nth(4).does(cancel))
	asked := calls(b.destination)
	report, err := app.New(nil).Rebuild(ctx, request)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, app.OutcomeFailed, report.Outcome)
	require.Equal(t, asked["receive"], asked["withdraw"], "what was received is withdrawn, so that no copy goes on")
	left := list(t, b.destination, copyName)
	require.Empty(t, left.InFlight)
	require.Nil(t, left.Head)
	require.NotEmpty(t, left.Snapshots)

	b.source.Inject(nil)
	report, err = app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	requireEqualViews(t, b, sourceName, copyName, true)
	require.EqualValues(t, (fieldSnapshots-len(left.Snapshots))*cluster, report.CopiedBytes, "what was sealed is not copied again")
}

// A user deletes the parent of the snapshot that is being copied, whose clusters the
// snapshot takes over (rule 14).
func TestMergedSourceSnapshotIsCopiedAgain(t *testing.T) {
	for _, when := range []string{"create", "copy", "withdraw"} { // before, while it is copied, or right before the seal
		t.Run(when, func(t *testing.T) {
			b, request := newPlainFixture(t)
			request.Parallel = 1
			below := mustSnapshot(t, list(t, b.source, sourceName), "snap12")
			merge := on(when).nth(3).does(func() { require.NoError(t, b.source.DeleteMerging(below.Lvol.UUID)) }) // of snap13
			inject(b.source, merge)
			inject(b.destination, merge)
			_, err := app.New(nil).Rebuild(context.Background(), request)
			require.NoError(t, err)
			requireEqualViews(t, b, sourceName, copyName, true)
			require.Len(t, list(t, b.destination, copyName).Snapshots, fieldSnapshots-1)
		})
	}
}

// Another process was faster.
func TestImageThatAppearsDuringRebuildIsUsed(t *testing.T) {
	for _, equal := range []bool{true, false} {
		b := newFixture(t, memory.Config{}, memory.Config{})
		newBuilder(t, b.source, sourceName, makeImage(t, b.source, 4)).build(fieldTree(10))
		inject(b.destination, on("seal").once().does(func() {
			if equal {
				makeImage(t, b.destination, 4)
			} else {
				makeImage(t, b.destination, 3)
			}
		}))
		report, err := app.New(nil).Rebuild(context.Background(), b.request())
		b.destination.Inject(nil)
		for name := range contents(t, b.destination) {
			require.False(t, domain.IsImageInFlight(name), "left in flight: %s", name)
		}
		if equal {
			require.NoError(t, err)
			requireEqualViews(t, b, sourceName, copyName, true)
			continue
		}
		require.NotErrorIs(t, err, app.ErrRefused, "something was changed")
		require.Equal(t, app.OutcomeFailed, report.Outcome)
		refused := (*domain.Refusal)(nil)
		require.ErrorAs(t, err, &refused, "the reason is there")
	}
}

// Its bytes changed on the way.
func TestDifferingFetchedImageIsDeleted(t *testing.T) {
	b := newFixture(t, memory.Config{}, memory.Config{})
	newBuilder(t, b.source, sourceName, makeImage(t, b.source, 4)).build(fieldTree(10))
	inject(b.destination, on("withdraw").ofImages().doesTo(func(c memory.Call) {
		require.NoError(t, b.destination.WriteAt(c.UUID, []byte{1}, 5))
	}))
	_, err := app.New(nil).Rebuild(context.Background(), b.request())
	require.ErrorIs(t, err, ports.ErrCorrupt)
	require.Empty(t, contents(t, b.destination))
}

func TestFullStoreEndsRebuildOnly(t *testing.T) {
	b, request := newPlainFixture(t)
	before := contents(t, b.source)
	inject(b.source, on("copy").from(3).fails(ports.ErrNoSpace))
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.ErrorIs(t, err, ports.ErrNoSpace)
	require.ErrorContains(t, err, "copy snapshot")
	require.Empty(t, list(t, b.destination, copyName).InFlight)
	require.Equal(t, before, contents(t, b.source))
}

// A user
// deletes the replica while it is rebuilt (longhorn/longhorn#10212, #9190).
func TestField_10212_RemovedDestinationEndsRebuildOnly(t *testing.T) {
	b, request := newPlainFixture(t)
	request.Parallel = 1 // else another copy may notice the loss before it is whole, and the run plans again
	before := contents(t, b.source)
	inject(b.source, on("copy").nth(3).does(func() {
		store, err := b.destination.List(context.Background())
		require.NoError(t, err)
		for range store.Lvols { // leaves first, in as many rounds as it takes
			for _, l := range store.Lvols {
				if l.Name[:3] == "vol" {
					err = errors.Join(err, b.destination.Delete(context.Background(), l.UUID))
				}
			}
		}
	}))
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.Error(t, err)
	require.Equal(t, before, contents(t, b.source))
	b.source.Inject(nil)
	_, err = app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	requireEqualViews(t, b, sourceName, copyName, true)
}

func TestParallelLimitsCopies(t *testing.T) {
	for _, parallel := range []int{1, 2} {
		b, request := newPlainFixture(t)
		request.Parallel = parallel
		var mu sync.Mutex
		type level struct{ now, most int }
		operations, copies, ahead := new(level), new(level), new(level)
		count := func(l *level, by int) {
			l.now += by
			l.most = max(l.most, l.now)
		}
		request.Observer = observe(func(e app.Event) {
			mu.Lock()
			defer mu.Unlock()
			switch e.Kind {
			case app.EventBegan:
				count(operations, 1)
				if e.Verb == domain.VerbCopy {
					count(copies, 1)
				}
				if e.Verb == domain.VerbCreate {
					count(ahead, 1)
				}
			case app.EventEnded:
				count(operations, -1)
				if e.Verb == domain.VerbCopy {
					count(copies, -1)
					count(ahead, -1)
				}
			}
		})
		inject(b.source, on("").takes(time.Millisecond))
		_, err := app.New(nil).Rebuild(context.Background(), request)
		require.NoError(t, err)
		require.Equal(t, parallel, copies.most, "copies at once")
		require.LessOrEqual(t, ahead.most, 2*parallel, "lvols that are created ahead of the copies")
		if parallel == 1 {
			require.Equal(t, 1, operations.most, "one operation after the other")
		}
	}
}

type observe func(app.Event)

func (o observe) Observe(e app.Event) { o(e) }

func TestProgressEndsAtTheTotal(t *testing.T) {
	b, request := newDamagedFixture(t, memory.Fork, memory.Fork)
	var seen []app.Event
	request.Observer = observe(func(e app.Event) { seen = append(seen, e) })
	report, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	requireEqualViews(t, b, sourceName, copyName, true)

	require.Equal(t, app.EventPlanned, seen[0].Kind)
	require.NotNil(t, seen[0].Plan.SystemSnapshot, "the first plan tells of the system snapshot")
	var last app.Event
	for _, e := range seen {
		require.LessOrEqual(t, e.BytesDone, e.BytesTotal)
		require.GreaterOrEqual(t, e.BytesDone, last.BytesDone)
		last = e
	}
	require.Equal(t, report.CopiedBytes, last.BytesDone)
	require.Equal(t, last.BytesTotal, last.BytesDone)
	require.Positive(t, last.Rate)
}

func TestBusyLvolIsRetried(t *testing.T) {
	b, request := newPlainFixture(t)
	busy := func(c memory.Call) memory.Fault {
		switch c.Method {
		case "graft", "seal", "clone", "copy", "delete", "prove":
			if c.N%3 != 0 {
				return memory.Fault{Before: ports.ErrBusy}
			}
		}
		return memory.Fault{}
	}
	b.source.Inject(busy)
	b.destination.Inject(busy)
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	requireEqualViews(t, b, sourceName, copyName, true)
}

func TestInvalidRequestsAreRefused(t *testing.T) {
	b, request := newPlainFixture(t)
	for name, spoil := range map[string]func(*app.Request){
		"no source host":                       func(r *app.Request) { r.Source.Host = nil },
		"no destination host":                  func(r *app.Request) { r.Destination.Host = nil },
		"-1 copies at once":                    func(r *app.Request) { r.Parallel = -1 },
		"a replica needs a name":               func(r *app.Request) { r.Destination.Replica = "" },
		"replica nobody not found":             func(r *app.Request) { r.Source.Replica = "nobody" },
		"is both source and destination":       func(r *app.Request) { r.Destination = r.Source },
		"says backing image other":             func(r *app.Request) { r.Base = domain.ImageBase("other") },
		"says backing image base":              func(r *app.Request) { r.Base = domain.NoBase() },
		"expected letters, digits, '.', '_' a": func(r *app.Request) { r.Destination.Replica = "vol 1/r" },
	} {
		t.Run(name, func(t *testing.T) {
			before := contents(t, b.destination)
			r := request
			spoil(&r)
			report, err := app.New(nil).Rebuild(context.Background(), r)
			require.ErrorIs(t, err, app.ErrRefused)
			require.ErrorContains(t, err, name)
			require.Equal(t, app.OutcomeRefused, report.Outcome)
			_, err = app.New(nil).Plan(context.Background(), r)
			require.ErrorIs(t, err, app.ErrRefused)
			require.Equal(t, before, contents(t, b.destination))
		})
	}
}

// An old copy, say, that goes on
// without its engine.
func TestForeignWriteIntoCopyPreventsSeal(t *testing.T) {
	b, request := newPlainFixture(t)
	inject(b.destination, on("withdraw").doesTo(func(c memory.Call) {
		require.NoError(t, b.destination.WriteAt(c.UUID, filled(77), 6*cluster))
	}))
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.ErrorIs(t, err, ports.ErrCorrupt, "it happens each time")
	left := list(t, b.destination, copyName)
	require.Empty(t, left.InFlight)
	require.Nil(t, left.Head)
	for _, s := range left.Snapshots {
		require.EqualValues(t, 1, s.Lvol.Own.Count, "snapshot %s was sealed with what is not the source's", s.Name)
	}
	b.destination.Inject(nil)
	_, err = app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	requireEqualViews(t, b, sourceName, copyName, true)
}

// Rule 14. Only that one is.
func TestDifferingCopyIsRepeated(t *testing.T) {
	b, request := newPlainFixture(t)
	request.Parallel = 1
	copied := on("copy")
	inject(b.source, copied)
	inject(b.destination, on("withdraw").nth(2).doesTo(func(c memory.Call) {
		require.NoError(t, b.destination.WriteAt(c.UUID, filled(77), 6*cluster))
	}))
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	requireEqualViews(t, b, sourceName, copyName, true)
	require.Len(t, copied.bySnapshot(), fieldSnapshots)
	for name, times := range copied.bySnapshot() {
		require.Equal(t, map[bool]int{false: 1, true: 2}[name == "snap12"], times, name)
	}
}

// Before our graft that is undone
// by it; between its answer and the seal it is found before the head comes, and
// the next run puts it right without copying.
func TestForeignGraftOfCopyIsUndone(t *testing.T) {
	for _, method := range []string{"withdraw", "seal"} {
		t.Run("at the "+method, func(t *testing.T) {
			b, request := newPlainFixture(t)
			request.Parallel = 1
			foreign := newBuilder(t, b.destination, "vol-7", "").snapshot("s", "", 8, nil, minute(0))
			inject(b.destination, on(method).once().doesTo(func(c memory.Call) {
				require.NoError(t, b.destination.Graft(context.Background(), c.UUID, foreign))
			}))
			_, err := app.New(nil).Rebuild(context.Background(), request)
			if method == "seal" {
				require.ErrorIs(t, err, ports.ErrCorrupt)
				require.Nil(t, list(t, b.destination, copyName).Head)
				var report app.Report
				report, err = app.New(nil).Rebuild(context.Background(), request)
				require.Zero(t, report.CopiedBytes)
			}
			require.NoError(t, err)
			requireEqualViews(t, b, sourceName, copyName, true)
		})
	}
}

// The plan condemned it as a leftover.
func TestDeleteSkipsRenamedLvol(t *testing.T) {
	b, request := newDamagedFixture(t, memory.Fork, memory.Fork)
	leftover := list(t, b.destination, copyName).InFlight[0]
	require.NoError(t, b.destination.Graft(context.Background(), leftover.UUID, ""))
	onDelete(b.destination, leftover.UUID, func() { require.NoError(t, b.destination.Rename(t.Context(), leftover.UUID, "vol-77-r-0a1b2c3d")) })
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	require.Contains(t, contents(t, b.destination), "vol-77-r-0a1b2c3d")
	requireEqualViews(t, b, sourceName, copyName, true)
}

// The look before the head.
func TestViolationPreventsTheHead(t *testing.T) {
	b, request := newPlainFixture(t)
	beforeTheHead(t, b, func() {
		newBuilder(t, b.destination, copyName, "").snapshot("extra", "", 8, nil, minute(9))
	})
	report, err := app.New(nil).Rebuild(context.Background(), request)
	require.ErrorIs(t, err, ports.ErrCorrupt)
	require.Equal(t, []domain.Violation{{Subject: "extra", Rule: domain.RuleExtra, Detail: "the source has no such snapshot"}}, report.Violations)
	require.Nil(t, list(t, b.destination, copyName).Head)
}

// beforeTheHead does something at the last moment.
func beforeTheHead(t *testing.T, b *fixture, do func()) {
	t.Helper()
	inject(b.destination, on("list").nth(2).does(do)) // the plan, the look before the head
}

// A spacer, say, whose making was not
// answered. The head does not come before it is gone.
func TestLvolOfLostAnswerIsRemoved(t *testing.T) {
	b, request := newPlainFixture(t)
	beforeTheHead(t, b, func() {
		newBuilder(t, b.destination, copyName, "").writable(domain.InFlightLvolName(copyName, "0badcafe"), "", 8)
	})
	report, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	requireEqualViews(t, b, sourceName, copyName, true)
	require.EqualValues(t, fieldSnapshots*cluster, report.CopiedBytes, "nothing is copied twice for it")
}

// On hosts without checksums, too, a plan
// that is made again copies nothing twice.
func TestSealingsOfThisRunNeedNoProof(t *testing.T) {
	b, request := newPlainFixtureOn(t, memory.Upstream)
	request.Parallel = 1
	extra := mustSnapshot(t, list(t, b.source, sourceName), "snap13")
	onDelete(b.source, extra.Lvol.UUID, func() { // nothing hangs on it: a user deletes it
		require.NoError(t, b.source.DeleteMerging(extra.Lvol.UUID))
	})
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	requireEqualViews(t, b, sourceName, copyName, true)
	require.EqualValues(t, (fieldSnapshots-1)*cluster, b.source.Sent())
}

// Other bytes in as many clusters.
func TestProofFindsWrongBytesOfEqualCount(t *testing.T) {
	for _, proof := range []bool{false, true} {
		b, request := newPlainFixture(t)
		request.Proof = proof
		request.Parallel = 1
		inject(b.destination, on("withdraw").once().doesTo(func(c memory.Call) {
			require.NoError(t, b.destination.WriteAt(c.UUID, filled(77), 0))
		}))
		report, err := app.New(nil).Rebuild(context.Background(), request)
		if !proof {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, ports.ErrCorrupt)
		require.Len(t, report.Violations, 1)
		require.Equal(t, domain.RuleData, report.Violations[0].Rule)
	}
}
