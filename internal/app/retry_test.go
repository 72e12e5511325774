package app_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// failFirst lets the next n calls of a method fail.
func failFirst(host *memory.Host, method string, n int, fault memory.Fault) {
	inject(host, on(method).upTo(n).gets(fault))
}

// Nobody knows whether a call took effect whose answer was lost. The store does.
func TestLostAnswerIsReconciled(t *testing.T) {
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		for side, methods := range map[string][]string{
			"destination": {"list", "look", "create", "graft", "seal", "clone", "delete", "record", "receive", "withdraw", "release", "prove"},
			"source":      {"list", "look", "copy", "peer", "release", "snapshot", "prove"},
		} {
			for _, method := range methods {
				for name, fault := range map[string]memory.Fault{
					"its answer is lost": {After: ports.ErrUnavailable}, "it is not done": {Before: ports.ErrUnavailable},
				} {
					t.Run(flavour.String()+": "+method+" on the "+side+", "+name, func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							b, request := newDamagedFixture(t, flavour, flavour)
							host := map[string]*memory.Host{"source": b.source, "destination": b.destination}[side]
							failFirst(host, method, 2, fault)
							_, err := app.New(nil).Rebuild(t.Context(), request)
							require.NoError(t, err)
							requireEqualViews(t, b, sourceName, copyName, true)
						})
					})
				}
			}
		}
	}
}

// longhorn/longhorn#5682: one I/O error in a copy started the whole rebuild
// again.
func TestField_5682_OnlyFailedCopyIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		request.Parallel = 1
		var retries []app.Event
		request.Observer = observe(func(e app.Event) {
			require.NotEqual(t, app.EventAgain, e.Kind, "nothing is planned again")
			if e.Kind == app.EventRetry {
				retries = append(retries, e)
			}
		})
		copies := on("copy")
		inject(b.source, copies, on("copy").of("snap21").once().gets(memory.Fault{Before: ports.ErrUnavailable, AfterClusters: 1}))
		_, err := app.New(nil).Rebuild(t.Context(), request)
		require.NoError(t, err)
		for name, times := range copies.bySnapshot() {
			require.Equal(t, map[bool]int{false: 1, true: 2}[name == "snap21"], times, name)
		}
		require.Len(t, retries, 1)
		require.Equal(t, "snap21", retries[0].Snapshot)
		require.Contains(t, retries[0].Text, "unavailable")
		requireEqualViews(t, b, sourceName, copyName, true)
	})
}

// longhorn/longhorn#9705: shallow copies failed with "Invalid argument". What
// may pass is tried again with back-off, what will not ends the rebuild with the
// step, the lvol and the host.
func TestField_9705_TransientErrorsAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		failFirst(b.source, "copy", 4, memory.Fault{Before: ports.ErrUnavailable})
		_, err := app.New(nil).Rebuild(t.Context(), request)
		require.NoError(t, err)
		requireEqualViews(t, b, sourceName, copyName, true)

		b, request = newPlainFixture(t)
		failFirst(b.source, "copy", 1000, memory.Fault{Before: ports.ErrInvalid})
		began := time.Now()
		_, err = app.New(nil).Rebuild(t.Context(), request)
		require.ErrorIs(t, err, ports.ErrInvalid)
		require.Regexp(t, `rebuild replica vol-1-r-4e5f6a7b: copy snapshot snap\d\d to lvstore disk-2: .*disk-1.*vol-1-r-0a1b2c3d-snap-snap\d\d`, err.Error())
		require.Zero(t, time.Since(began), "it is not waited for")
	})
}

// A host that is gone is not waited for.
func TestDeadHostEndsRebuildSoon(t *testing.T) {
	for _, side := range []string{"source", "destination"} {
		t.Run(side, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, request := newPlainFixture(t)
				host := map[string]*memory.Host{"source": b.source, "destination": b.destination}[side]
				first := on(map[string]string{"source": "copy", "destination": "seal"}[side])
				inject(host, first, on("").after(first).fails(ports.ErrUnavailable))
				began := time.Now()
				_, err := app.New(nil).Rebuild(t.Context(), request)
				require.ErrorIs(t, err, ports.ErrUnavailable)
				require.Less(t, time.Since(began), 10*time.Second)
			})
		})
	}
}

// One that hangs would take its whole time at each attempt.
func TestHangingHostIsCalledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		request.Parallel = 1
		creates := on("create").fails(errNoAnswer)
		inject(b.destination, creates)
		_, err := app.New(nil).Rebuild(t.Context(), request)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, creates.calls())
	})
}

var errNoAnswer = errors.Join(ports.ErrUnavailable, context.DeadlineExceeded)

// A cancel does not wait for the next attempt.
func TestCancelEndsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		failFirst(b.source, "copy", 1000, memory.Fault{Before: ports.ErrUnavailable})
		ctx, cancel := context.WithCancel(t.Context())
		request.Observer = observe(func(e app.Event) {
			if e.Kind == app.EventRetry {
				cancel()
			}
		})
		began := time.Now()
		_, err := app.New(nil).Rebuild(ctx, request)
		require.Error(t, err)
		require.Zero(t, time.Since(began))
		require.Empty(t, list(t, b.destination, copyName).InFlight)
	})
}

// What somebody else has put under the final name is not taken for ours.
func TestForgedSealIsNotAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		request.Parallel = 1
		inject(b.destination, on("seal").once().fails(ports.ErrUnavailable).doesTo(func(c memory.Call) {
			forged, err := b.destination.Create(context.Background(), domain.InFlightLvolName(copyName, "0000cccc"), 8*cluster)
			require.NoError(t, err)
			require.NoError(t, b.destination.WriteAt(forged, filled(66), 0))
			image, _ := list(t, b.destination, copyName).Store.BackingImage(imageName)
			require.NoError(t, b.destination.Graft(context.Background(), forged, image.Lvol.UUID))
			_, err = b.destination.Seal(context.Background(), forged, c.Name, ports.SealRecord{Attributes: minute(0)})
			require.NoError(t, err)
		}))
		_, err := app.New(nil).Rebuild(t.Context(), request)
		if err != nil { // it may be refused; then the next run puts it right
			b.destination.Inject(nil)
			_, err = app.New(nil).Rebuild(t.Context(), request)
		}
		require.NoError(t, err)
		requireEqualViews(t, b, sourceName, copyName, true)
	})
}
