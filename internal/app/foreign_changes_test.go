package app_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Others change a store in the moment between two of our calls.

// meddlingHost is a host whose seal and clone are done by others, if they like to.
type meddlingHost struct {
	*memory.Host

	seal  func(ctx context.Context, uuid, name string, seal ports.SealRecord) (string, error)
	clone func(ctx context.Context, snapshot, name string, size uint64, record string) (string, error)
}

func (h *meddlingHost) Seal(ctx context.Context, uuid, name string, seal ports.SealRecord) (string, error) {
	if h.seal != nil {
		return h.seal(ctx, uuid, name, seal)
	}
	return h.Host.Seal(ctx, uuid, name, seal)
}

func (h *meddlingHost) Clone(ctx context.Context, snapshot, name string, size uint64, record string) (string, error) {
	if h.clone != nil {
		return h.clone(ctx, snapshot, name, size, record)
	}
	return h.Host.Clone(ctx, snapshot, name, size, record)
}

// whyAgain notes why a rebuild is planned again.
func whyAgain(request *app.Request) *[]string {
	var mu sync.Mutex
	var all []string
	request.Observer = observe(func(e app.Event) {
		if e.Kind == app.EventAgain {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, e.Text)
		}
	})
	return &all
}

// A copy that is to have no parent is not grafted, so its seal looks for one that
// somebody else has given it: rule 4.
func TestCopyWithForeignParentIsNotSealed(t *testing.T) {
	for _, parallel := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			b := newFixture(t, memory.Config{}, memory.Config{})
			newBuilder(t, b.source, sourceName, "").build(fieldTree(10))
			other := newBuilder(t, b.destination, "vol-7", "").snapshot("s", "", 8, nil, minute(0))
			request := app.Request{
				Source:      app.Site{Host: b.source, Replica: sourceName},
				Destination: app.Site{Host: b.destination, Replica: copyName},
				Base:        domain.NoBase(), Parallel: parallel,
			}
			again := whyAgain(&request)
			given := on("copy").of("snap11").once().does(func() {
				for _, l := range listAll(t, b.destination) {
					if of, is := domain.ReplicaInFlight(l.Name); is && of == copyName {
						require.NoError(t, b.destination.Graft(t.Context(), l.UUID, other))
					}
				}
			})
			inject(b.source, given)
			inject(b.destination, on("seal").of("snap11").doesTo(func(c memory.Call) {
				l, err := b.destination.Look(t.Context(), c.UUID)
				require.NoError(t, err)
				require.Empty(t, l.Parent, "it is sealed, and hangs on somebody else's snapshot")
			}))
			_, err := app.New(nil).Rebuild(t.Context(), request)
			require.NoError(t, err)
			require.Positive(t, given.calls())
			require.Contains(t, strings.Join(*again, "\n"), "the copy has another parent now")
			requireEqualViews(t, b, sourceName, copyName, false)
		})
	}
}

func listAll(t tester, host *memory.Host) []domain.Lvol {
	t.Helper()
	store, err := host.List(context.Background())
	require.NoError(t, err)
	return store.Lvols
}

// A seal whose answer was lost is done only if the lvol in flight has become the
// snapshot, with the clusters that were copied. Where something was written into what is
// left of it, a copy was going on that was thought to be over.
func TestLostSealIsDoneOnlyIfTheSnapshotIsTheCopy(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		seal func(b *fixture, uuid, name string, seal ports.SealRecord) // what has become of it
		why  string                                                     // it is planned again; "": it is not
	}{
		"it is": {func(b *fixture, uuid, name string, seal ports.SealRecord) {
			_, err := b.destination.Seal(ctx, uuid, name, seal)
			require.NoError(b.t, err)
		}, ""},
		"the rest stays": {func(b *fixture, uuid, name string, seal ports.SealRecord) {
			_, err := b.destination.Snapshot(ctx, uuid, name, seal.Attributes)
			require.NoError(b.t, err)
		}, ""},
		"a late write": {func(b *fixture, uuid, name string, seal ports.SealRecord) {
			_, err := b.destination.Snapshot(ctx, uuid, name, seal.Attributes)
			require.NoError(b.t, err)
			require.NoError(b.t, b.destination.WriteAt(uuid, filled(1), 0))
		}, "something wrote to the lvol"},
		"a write right before": {func(b *fixture, uuid, name string, seal ports.SealRecord) {
			require.NoError(b.t, b.destination.WriteAt(uuid, filled(1), 7*cluster))
			_, err := b.destination.Seal(ctx, uuid, name, seal)
			require.NoError(b.t, err)
		}, "was sealed with 2 clusters of its own instead of 1"},
		"somebody else's snapshot": {func(b *fixture, uuid, name string, seal ports.SealRecord) {
			anotherOf(b, uuid, name, seal)
		}, "exists"},
		"a writable lvol in its place": {func(b *fixture, uuid, name string, seal ports.SealRecord) {
			l, err := b.destination.Look(ctx, uuid)
			require.NoError(b.t, err)
			require.NoError(b.t, b.destination.Delete(ctx, uuid))
			other, err := b.destination.Clone(ctx, l.Parent, name, l.Size, "")
			require.NoError(b.t, err)
			require.NoError(b.t, b.destination.WriteAt(other, filled(1), 0))
		}, "in the way"},
	} {
		for _, parallel := range []int{1, 4} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, request := newPlainFixtureOn(t, memory.Upstream)
					request.Parallel = parallel
					again := whyAgain(&request)
					lost, sealed := false, ""
					request.Destination.Host = &meddlingHost{Host: b.destination, seal: func(ctx context.Context, uuid, name string, seal ports.SealRecord) (string, error) {
						if name != domain.SnapshotLvolName(copyName, "snap31") || lost {
							return b.destination.Seal(ctx, uuid, name, seal)
						}
						lost = true
						c.seal(b, uuid, name, seal)
						for _, l := range listAll(t, b.destination) {
							if l.Name == name {
								sealed = l.UUID
							}
						}
						return "", ports.ErrUnavailable
					}}
					_, err := app.New(nil).Rebuild(t.Context(), request)
					switch c.why {
					case "in the way": // and nothing of this replica
						require.ErrorContains(t, err, "already exists on lvstore")
						require.Contains(t, strings.Join(*again, "\n"), "was sealed with")
						return
					case "exists":
						require.ErrorIs(t, err, ports.ErrExists)
						_, err = app.New(nil).Rebuild(t.Context(), request)
					}
					require.NoError(t, err)
					requireEqualViews(t, b, sourceName, copyName, true)
					snapshot, _ := list(t, b.destination, copyName).Snapshot("snap31")
					if c.why == "" {
						require.Equal(t, sealed, snapshot.Lvol.UUID)
						require.Empty(t, *again)
						return
					}
					require.NotEqual(t, sealed, snapshot.Lvol.UUID, "it is copied anew")
					if c.why != "exists" {
						require.Contains(t, strings.Join(*again, "\n"), c.why)
					}
				})
			})
		}
	}
}

// anotherOf makes a snapshot of that name that looks like what the lvol would become.
func anotherOf(b *fixture, uuid, name string, seal ports.SealRecord) {
	ctx := context.Background()
	l, err := b.destination.Look(ctx, uuid)
	require.NoError(b.t, err)
	other, err := b.destination.Create(ctx, domain.InFlightLvolName(copyName, "00000002"), l.Size)
	require.NoError(b.t, err)
	require.NoError(b.t, b.destination.WriteAt(other, filled(1), 0))
	require.NoError(b.t, b.destination.Graft(ctx, other, l.Parent))
	_, err = b.destination.Seal(ctx, other, name, seal)
	require.NoError(b.t, err)
}

// A head of the right name, after the answer to the clone was lost, is ours only if it
// is what was asked for.
func TestLostCloneIsCheckedBeforeUse(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		make func(b *fixture, snapshot, name string, size uint64) // somebody else's
		ours bool
	}{
		"it is": {func(b *fixture, snapshot, name string, size uint64) {
			_, err := b.destination.Clone(ctx, snapshot, name, size, imageName)
			require.NoError(b.t, err)
		}, true},
		"of another size": {func(b *fixture, snapshot, name string, size uint64) {
			_, err := b.destination.Clone(ctx, snapshot, name, size+cluster, imageName)
			require.NoError(b.t, err)
		}, false},
		"on nothing": {func(b *fixture, _, name string, size uint64) {
			_, err := b.destination.Clone(ctx, "", name, size, imageName)
			require.NoError(b.t, err)
		}, false},
		"with clusters": {func(b *fixture, snapshot, name string, size uint64) {
			uuid, err := b.destination.Clone(ctx, snapshot, name, size, imageName)
			require.NoError(b.t, err)
			require.NoError(b.t, b.destination.WriteAt(uuid, filled(1), 0))
		}, false},
		"read-only": {func(b *fixture, snapshot, name string, size uint64) {
			uuid, err := b.destination.Clone(ctx, snapshot, domain.InFlightLvolName(copyName, "00000001"), size, "")
			require.NoError(b.t, err)
			_, err = b.destination.Seal(ctx, uuid, name, ports.SealRecord{})
			require.NoError(b.t, err)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, request := newPlainFixture(t)
				request.Options.Overwrite = copyName // a larger head, too
				again := whyAgain(&request)
				lost := false
				request.Destination.Host = &meddlingHost{Host: b.destination, clone: func(ctx context.Context, snapshot, name string, size uint64, record string) (string, error) {
					if lost {
						return b.destination.Clone(ctx, snapshot, name, size, record)
					}
					lost = true
					c.make(b, snapshot, name, size)
					return "", ports.ErrUnavailable
				}}
				_, err := app.New(nil).Rebuild(t.Context(), request)
				if name == "read-only" { // nothing of this replica, and in the way
					require.ErrorContains(t, err, "already exists on lvstore")
					require.Len(t, *again, 1)
					return
				}
				require.NoError(t, err)
				requireEqualViews(t, b, sourceName, copyName, true)
				require.Equal(t, list(t, b.source, sourceName).Head.Size, list(t, b.destination, copyName).Head.Size)
				require.Equal(t, imageName, list(t, b.destination, copyName).Head.Record)
				if c.ours {
					require.Empty(t, *again)
				} else {
					require.Contains(t, strings.Join(*again, "\n"), "exists with another parent, size or content")
				}
			})
		})
	}
}

// Somebody has deleted the snapshot below one of the source's, which merges the two, since
// it was planned. Nothing is copied of what the plan does not know.
func TestSourceIsCountedBeforeItsCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newChainFixture(t, 3)
		request.Parallel = 1
		again := whyAgain(&request)
		third := on("create").nth(3).does(func() { // those before are copied and sealed
			s1, _ := list(t, b.source, sourceName).Snapshot("s1")
			require.NoError(t, b.source.Merge(t.Context(), s1.Lvol.UUID))
		})
		copies := on("copy").of("s2")
		inject(b.destination, third)
		inject(b.source, copies)
		_, err := app.New(nil).Rebuild(t.Context(), request)
		require.NoError(t, err)
		require.GreaterOrEqual(t, third.calls(), 3)
		require.NotEmpty(t, *again)
		require.Equal(t, 1, copies.calls(), "copies of the snapshot that took over the clusters")
		requireEqualViews(t, b, sourceName, copyName, true)
	})
}

// What was garbage when it was listed may be somebody's by the time it is deleted.
func TestGarbageSkipsRenamedLvol(t *testing.T) {
	b, request := newPlainFixture(t)
	uuid, err := b.destination.Create(t.Context(), domain.InFlightLvolName(copyName, "0badf00d"), 8*cluster)
	require.NoError(t, err)
	gone, err := b.destination.Create(t.Context(), domain.InFlightLvolName(copyName, "0badf00e"), 8*cluster)
	require.NoError(t, err)
	onDelete(b.destination, uuid, func() { require.NoError(t, b.destination.Rename(t.Context(), uuid, "vol-77")) })
	removed, err := app.New(nil).RemoveGarbage(t.Context(), request.Destination.Host)
	require.ErrorIs(t, err, ports.ErrInvalid)
	require.ErrorContains(t, err, "vol-77")
	require.Len(t, removed.Lvols, 1)
	require.Equal(t, gone, removed.Lvols[0].Lvol.UUID)
	require.Contains(t, namesOn(t, b.destination), "vol-77")
}

// A seal that is done again after a failure looks again: what was counted when the copy
// was grafted may be seconds old. Rules 4 and 14.
func TestSealThatIsDoneAgainLooksAgain(t *testing.T) {
	for name, meanwhile := range map[string]func(b *fixture, inFlight string){
		"the snapshot below the source's is merged into it": func(b *fixture, _ string) {
			below, _ := list(b.t, b.source, sourceName).Snapshot("s1")
			require.NoError(b.t, b.source.Merge(context.Background(), below.Lvol.UUID))
		},
		"the copy is given another parent": func(b *fixture, inFlight string) {
			require.NoError(b.t, b.destination.Graft(context.Background(), inFlight, ""))
		},
		"something is written into the copy": func(b *fixture, inFlight string) {
			require.NoError(b.t, b.destination.WriteAt(inFlight, filled(1), 9*cluster))
		},
	} {
		for why, failure := range map[string]error{"unavailable": ports.ErrUnavailable, "busy": ports.ErrBusy} {
			t.Run(name+", "+why, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, request := newChainFixture(t, 3)
					again := whyAgain(&request)
					failed, sealed := "", false
					inject(b.destination,
						on("seal").of("s2").once().fails(failure).doesTo(func(c memory.Call) {
							failed = c.UUID
							meanwhile(b, failed)
						}),
						on("seal").of("s2").from(2).doesTo(func(c memory.Call) { sealed = sealed || c.UUID == failed }))
					_, err := app.New(nil).Rebuild(t.Context(), request)
					require.NoError(t, err)
					require.False(t, sealed, "what was copied is not the source's, or hangs on something else")
					require.Len(t, *again, 1)
					requireEqualViews(t, b, sourceName, copyName, true)
				})
			})
		}
	}
}
