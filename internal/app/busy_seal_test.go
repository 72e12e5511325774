package app_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

func TestBusySealIsWaitedForAfterALongProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newFixtureWithoutImage(t, bothProve)
		proofs := on("prove").where(func(memory.Call) bool { return len(namesLike(t, b.destination, "bi-rebuilding-")) > 0 }).takes(11 * time.Minute)
		busy := on("seal").where(func(c memory.Call) bool { return strings.HasPrefix(c.Name, "bi-base-") }).once().fails(errLvolBusy)
		inject(b.destination, proofs, busy)
		_, err := app.New(nil).Rebuild(context.Background(), request)
		require.Positive(t, proofs.calls())
		require.Positive(t, busy.calls())
		require.NoError(t, err)
	})
}

func TestBusySealReadsTheImageOnce(t *testing.T) {
	for i, f := range allFlavours {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, request := newFixtureWithoutImage(t, f)
				request.Views = true
				busy := on("seal").where(func(c memory.Call) bool { return strings.HasPrefix(c.Name, "bi-base-") }).upTo(20).fails(errLvolBusy)
				opened := on("open").where(func(c memory.Call) bool { return strings.HasPrefix(c.Name, "bi-rebuilding-") })
				inject(b.destination, busy, opened)
				_, err := app.New(nil).Rebuild(context.Background(), request)
				require.NoError(t, err)
				require.LessOrEqual(t, opened.calls(), 1)
			})
		})
	}
}

func TestBusySealListsTheStoreOnceAfterALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		request.Parallel = 1
		var seals, lists, before, during atomic.Int32
		b.destination.Inject(func(c memory.Call) (f memory.Fault) {
			switch c.Method {
			case "list":
				lists.Add(1)
			case "seal":
				switch n := seals.Add(1); {
				case n == 1:
					before.Store(lists.Load())
					f.Before = errSocket
				case n <= 201:
					f.Before = errLvolBusy
				case n == 202:
					during.Store(lists.Load() - before.Load())
				}
			}
			return f
		})
		_, err := app.New(nil).Rebuild(context.Background(), request)
		require.NoError(t, err)
		require.LessOrEqual(t, during.Load(), int32(2))
	})
}
