package app_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// runTracker is a host that keeps a state of each run, as the SPDK adapter does: the
// first Release sweeps, the second one forgets, and so does End.
type runTracker struct {
	*memory.Host

	mu    sync.Mutex
	swept map[ports.Run]bool // by run
	fail  bool               // the first Release fails
}

func remember(host *memory.Host) *runTracker {
	return &runTracker{Host: host, swept: make(map[ports.Run]bool)}
}

func (r *runTracker) Release(ctx context.Context, run ports.Run) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail {
		return errors.Join(ports.ErrInvalid, errCrash)
	}
	if r.swept[run] {
		delete(r.swept, run)
	} else {
		r.swept[run] = true
	}
	return r.Host.Release(ctx, run)
}

func (r *runTracker) End(ctx context.Context, run ports.Run) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.swept, run)
	return r.Host.End(ctx, run)
}

func (r *runTracker) noted(run ports.Run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.swept[run]; !known {
		r.swept[run] = false
	}
}

func (r *runTracker) Receive(ctx context.Context, run ports.Run, uuid string, from ports.Peer) (ports.Address, error) {
	r.noted(run)
	return r.Host.Receive(ctx, run, uuid, from)
}

func (r *runTracker) Copy(ctx context.Context, run ports.Run, snapshot string, to ports.Address, progress ports.Progress) error {
	r.noted(run)
	return r.Host.Copy(ctx, run, snapshot, to, progress)
}

func (r *runTracker) Open(ctx context.Context, run ports.Run, uuid string) (ports.Bytes, error) {
	r.noted(run)
	return r.Host.Open(ctx, run, uuid)
}

// One state of a run stayed for each replica that was deleted, and for each rebuild
// that had nothing to do and failed in it.
func TestHostsForgetEndedRuns(t *testing.T) {
	ctx := t.Context()
	for _, parallel := range []int{1, 4} {
		for _, views := range []bool{false, true} {
			b, request := newPlainFixture(t)
			source, destination := remember(b.source), remember(b.destination)
			request.Source.Host, request.Destination.Host = source, destination
			request.Parallel, request.Views = parallel, views
			engine := app.New(nil)
			forgotten := func(what string) {
				t.Helper()
				require.Empty(t, source.swept, what)
				require.Empty(t, destination.swept, what)
			}
			_, err := engine.Rebuild(ctx, request)
			require.NoError(t, err)
			forgotten("rebuild")
			_, err = engine.Rebuild(ctx, request)
			require.NoError(t, err)
			forgotten("nothing to do")
			for _, fails := range []*runTracker{source, destination} {
				fails.fail = true
				_, err = engine.Rebuild(ctx, request)
				require.ErrorIs(t, err, errCrash)
				fails.fail = false
				forgotten("nothing to do, and that failed")
			}
			_, err = engine.ReadViews(ctx, request.Destination, list(t, b.destination, copyName).Views(), nil)
			require.NoError(t, err)
			forgotten("read views")
			_, err = engine.DeleteReplica(ctx, request.Destination, nil)
			require.NoError(t, err)
			forgotten("delete replica")
			for _, fails := range []*runTracker{source, destination} {
				fails.fail = true
				_, err = engine.Rebuild(ctx, request)
				require.ErrorIs(t, err, errCrash)
				fails.fail = false
				forgotten("rebuild that failed")
			}
			second := importOf(destination, disk())
			second.Name = "other"
			_, err = engine.ImportImage(ctx, second)
			require.NoError(t, err)
			forgotten("import")
			_, err = engine.VerifyImage(ctx, destination, "other", "", nil)
			require.NoError(t, err)
			forgotten("verify")
			_, err = engine.DeleteImage(ctx, destination, "other")
			require.NoError(t, err)
			forgotten("delete image")
			_, err = engine.CreateReplica(ctx, request.Destination, 8*cluster, domain.NoBase())
			require.NoError(t, err)
			_, err = engine.RemoveGarbage(ctx, destination)
			require.NoError(t, err)
			forgotten("create and collect")
		}
	}
}
