package app_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// systemSnapshots are those that a rebuild took of the source.
func systemSnapshots(all map[string]content) (names []string) {
	for name, s := range all {
		if s.lvol.ReadOnly && !s.lvol.Attributes.UserCreated && s.lvol.Image == (domain.ImageRecord{}) {
			names = append(names, name)
		}
	}
	return names
}

// longhorn/longhorn#7723: a rebuild that failed left state in the source, and no
// later one ever succeeded. Here the destination fails at each of its calls in
// turn, for good; what the source has more than before is one snapshot of its
// head, always the same one, and the next rebuild, to whatever host, succeeds.
func TestField_7723_FailedRebuildLeavesOneSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for at := 1; ; at++ {
			b, request := newPlainFixture(t)
			before := contents(t, b.source)
			head := list(t, b.source, sourceName).Head
			require.NoError(t, b.source.WriteAt(head.UUID, filled(99), 7*cluster))
			view := sha(t, b.source, head.UUID)
			asked := on("").from(at).fails(ports.ErrUnavailable)
			inject(b.destination, asked)
			for range 2 {
				_, err := app.New(nil).Rebuild(t.Context(), request)
				if asked.calls() < at {
					require.NoError(t, err)
					require.Greater(t, at, 20, "each call failed once")
					return
				}
				require.Error(t, err)
			}
			after := contents(t, b.source)
			require.Equal(t, view, after[sourceName].sha, "the head reads what it did")
			taken := systemSnapshots(after)
			require.LessOrEqual(t, len(taken), 1, "call %d: %v", at, taken)
			for name, was := range before {
				if name != sourceName {
					require.Equal(t, was.sha, after[name].sha, "call %d: %s", at, name)
					require.Equal(t, was.lvol.Parent, after[name].lvol.Parent, "call %d: %s", at, name)
				}
			}
			require.Len(t, after, len(before)+len(taken), "call %d", at)

			b.destination.Inject(nil)
			_, err := app.New(nil).Rebuild(t.Context(), request)
			require.NoError(t, err, "call %d", at)
			requireEqualViews(t, b, sourceName, copyName, true)
			require.Len(t, systemSnapshots(contents(t, b.source)), 1, "call %d: the snapshot that is there is used again", at)
		}
	})
}

// longhorn/longhorn#13673: a destination that failed to start faulted the whole
// engine. Rule 11: it fails alone.
func TestField_13673_DeadDestinationHarmsNoOtherRebuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := memory.NewFabric()
		host := func(name string) *memory.Host {
			return fabric.NewHost(memory.Config{Name: name, ClusterSize: cluster, Seed: uint64(len(name))})
		}
		source, dead, alive := host("disk-1"), host("disk-dead"), host("disk-2x")
		newBuilder(t, source, sourceName, makeImage(t, source, 4)).build(fieldTree(10))
		makeImage(t, alive, 4)
		before := contents(t, source)
		inject(dead, on("").fails(ports.ErrUnavailable))

		engine := app.New(nil)
		var both sync.WaitGroup
		var failed, succeeded error
		both.Go(func() {
			_, failed = engine.Rebuild(t.Context(), app.Request{
				Source: app.Site{Host: source, Replica: sourceName}, Destination: app.Site{Host: dead, Replica: "vol-1-r-8c9d0e1f"},
			})
		})
		both.Go(func() {
			_, succeeded = engine.Rebuild(t.Context(), app.Request{
				Source: app.Site{Host: source, Replica: sourceName}, Destination: app.Site{Host: alive, Replica: copyName},
			})
		})
		both.Wait()
		require.ErrorIs(t, failed, ports.ErrUnavailable)
		require.ErrorContains(t, failed, "disk-dead", "the host is named")
		require.NoError(t, succeeded)
		require.Equal(t, before, contents(t, source), "the source serves on as if nothing had been")
		requireEqualViews(t, &fixture{t: t, source: source, destination: alive}, sourceName, copyName, true)
	})
}

// longhorn/longhorn#10037: all of a failed replica was copied though its
// snapshots were intact, and nobody said why. Only the last one is not there.
func TestField_10037_FailedReplicaIsReused(t *testing.T) {
	b, request := newPlainFixture(t)
	_, err := app.New(nil).Rebuild(t.Context(), request)
	require.NoError(t, err)
	// The replica was away: the volume went on, and got one more snapshot.
	s := list(t, b.source, sourceName)
	require.NoError(t, b.source.WriteAt(s.Head.UUID, filled(50), 6*cluster))
	_, err = b.source.Snapshot(t.Context(), s.Head.UUID, domain.SnapshotLvolName(sourceName, "snap41"), minute(50))
	require.NoError(t, err)

	report, err := app.New(nil).Rebuild(t.Context(), request)
	require.NoError(t, err)
	require.EqualValues(t, cluster, report.CopiedBytes, "the new snapshot's cluster, and nothing else")
	kept := 0
	for _, step := range report.Plan.Steps {
		require.NotEmpty(t, step.Reason, "%s %s", step.Action, step.Snapshot)
		if step.Action == domain.ActionKeep {
			kept++
		}
	}
	require.Equal(t, fieldSnapshots, kept)
	requireEqualViews(t, b, sourceName, copyName, true)
}

// newCrowdedFixture is many volumes of one image on one source, that all have lost their
// replica on one destination: a node has come back.
func newCrowdedFixture(t *testing.T, volumes int) (b *fixture, requests []app.Request) {
	b = newFixture(t, memory.Config{}, memory.Config{})
	image := makeImage(t, b.source, 2)
	makeImage(t, b.destination, 2)
	for v := range volumes {
		newBuilder(t, b.source, replicaOf(v, 1), image).build(fieldChain(3, byte(v)))
		requests = append(requests, app.Request{
			Source:      app.Site{Host: b.source, Replica: replicaOf(v, 1)},
			Destination: app.Site{Host: b.destination, Replica: replicaOf(v, 2)},
		})
	}
	return b, requests
}

// longhorn/longhorn#2460: after a node's reboot hundreds of rebuilds began at
// once. Here as many as the limit says write to the host, however many there are.
func TestField_2460_FewRebuildsRunAtOnceAfterReboot(t *testing.T) {
	const volumes, limit = 60, 3
	synctest.Test(t, func(t *testing.T) {
		b, requests := newCrowdedFixture(t, volumes)
		queue := app.NewQueue(app.New(nil), app.Limits{PerSource: volumes, PerDestination: limit})
		inject(b.destination, on("").takes(time.Second))
		jobs := make([]*app.Job, volumes)
		for v, request := range requests {
			var err error
			jobs[v], err = queue.Submit(t.Context(), request)
			require.NoError(t, err)
		}
		for v, job := range jobs {
			_, err := job.Wait(t.Context())
			require.NoError(t, err)
			requireEqualViews(t, b, replicaOf(v, 1), replicaOf(v, 2), true)
		}
		require.Equal(t, limit, mostAtOnce(jobs), "rebuilds at once")
	})
}

// mostAtOnce is how many of them were at work at the same time, at most. One that begins
// when another one ends takes its place.
func mostAtOnce(jobs []*app.Job) (most int) {
	for _, job := range jobs {
		began, running := job.Status().Began, 0
		for _, other := range jobs {
			if s := other.Status(); !s.Began.After(began) && s.Ended.After(began) {
				running++
			}
		}
		most = max(most, running)
	}
	return most
}

// longhorn/longhorn#588: rebuilds that begin as they like starve each other. Who
// came first goes first, and one that fails or is cancelled makes room.
func TestField_588_QueueIsFair(t *testing.T) {
	const volumes = 20
	synctest.Test(t, func(t *testing.T) {
		b, requests := newCrowdedFixture(t, volumes)
		broken, cancelled := requests[4].Source.Replica, 7
		inject(b.source, on("copy").of(domain.SnapshotLvolName(broken, "snap12")).fails(ports.ErrInvalid), on("").takes(time.Second))
		queue := app.NewQueue(app.New(nil), app.Limits{PerSource: 1, PerDestination: 1})
		jobs := make([]*app.Job, volumes)
		for v, request := range requests {
			var err error
			jobs[v], err = queue.Submit(t.Context(), request)
			require.NoError(t, err)
		}
		jobs[cancelled].Cancel()
		var began []time.Time
		for v, job := range jobs {
			_, err := job.Wait(t.Context())
			switch v {
			case 4:
				require.ErrorIs(t, err, ports.ErrInvalid)
			case cancelled:
				require.ErrorIs(t, err, context.Canceled)
				continue // it never began
			default:
				require.NoError(t, err)
			}
			began = append(began, job.Status().Began)
		}
		require.True(t, slices.IsSortedFunc(began, time.Time.Compare), "in the order in which they came: %v", began)
	})
}

// longhorn/longhorn#10770: the traffic of a rebuild starved the volume's clients.
// Its bandwidth is kept, and can be changed while it runs. Virtual time.
func TestField_10770_BandwidthCanBeChanged(t *testing.T) {
	const clusters = 120
	synctest.Test(t, func(t *testing.T) {
		b, request := newWideFixture(t, 1, clusters)
		limit := app.NewBandwidth(2 * cluster)
		request.Bandwidth = []*app.Bandwidth{limit}
		go func() {
			time.Sleep(30 * time.Second) // 60 clusters
			limit.Set(cluster)           // clients have woken up: 60 more
		}()
		require.InDelta(t, 30+60, took(t, request).Seconds(), 2)
		requireEqualViews(t, b, sourceName, copyName, true)
	})
}

// longhorn/longhorn#5692: the same, of many rebuilds of one host.
func TestField_5692_RebuildsShareHostBandwidth(t *testing.T) {
	const volumes = 6
	synctest.Test(t, func(t *testing.T) {
		b, requests := newCrowdedFixture(t, volumes)
		queue := app.NewQueue(app.New(nil), app.Limits{PerSource: volumes, PerDestination: volumes})
		queue.LimitHost(b.destination, cluster)
		began := time.Now()
		var jobs []*app.Job
		for _, request := range requests {
			job, err := queue.Submit(t.Context(), request)
			require.NoError(t, err)
			jobs = append(jobs, job)
		}
		for v, job := range jobs {
			_, err := job.Wait(t.Context())
			require.NoError(t, err)
			requireEqualViews(t, b, replicaOf(v, 1), replicaOf(v, 2), true)
		}
		// 3 snapshots of one cluster each, one cluster a second for all of them.
		require.GreaterOrEqual(t, time.Since(began).Seconds(), 0.95*volumes*3)
	})
}

// longhorn/longhorn#307: a rebuild could not be paused for maintenance. It is
// cancelled, at whatever call, and run again: what was finished is kept.
func TestField_307_CancelledRebuildResumes(t *testing.T) {
	errMaintenance := errors.New("the node goes down for maintenance")
	for at := 1; ; at++ {
		b, request := newPlainFixture(t)
		request.Parallel = 1
		ctx, cancel := context.WithCancelCause(t.Context())
		asked := on("").nth(at).does(func() { cancel(errMaintenance) })
		inject(b.source, asked)
		inject(b.destination, asked)
		_, err := app.New(nil).Rebuild(ctx, request)
		if asked.calls() < at {
			require.NoError(t, err)
			require.Greater(t, at, 50, "it was cancelled at each call once")
			return
		}
		b.source.Inject(nil)
		b.destination.Inject(nil)
		where := fmt.Sprintf("cancelled at call %d: %v", at, err)
		left := list(t, b.destination, copyName)
		require.Empty(t, left.InFlight, where)
		if err != nil {
			require.ErrorIs(t, err, context.Canceled, where)
			require.ErrorIs(t, err, errMaintenance, where)
		}
		report, err := app.New(nil).Rebuild(t.Context(), request)
		require.NoError(t, err, where)
		require.EqualValues(t, (fieldSnapshots-len(left.Snapshots))*cluster, report.CopiedBytes, "%s: what was sealed is not copied again", where)
		requireEqualViews(t, b, sourceName, copyName, true)
	}
}
