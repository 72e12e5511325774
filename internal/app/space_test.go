package app_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// tightStore is volumes that are rebuilt onto a store with little room, beside somebody
// else's volume.
type tightStore struct {
	*fixture

	t         *testing.T
	engine    *app.Engine
	image     string // UUID on the source; "": the volumes have none
	neighbour string // UUID of a head on the destination
}

const copyingTime = time.Minute // of each snapshot

// newTightStore has so many clusters free. Copies take their time.
func newTightStore(t *testing.T, f memory.Flavour, free uint64, image int) *tightStore {
	t.Helper()
	b := newFixture(t, memory.Config{Flavour: f}, memory.Config{Flavour: f, TotalClusters: free + 1})
	s := &tightStore{fixture: b, t: t, engine: app.New(nil)}
	if image > 0 {
		s.image = makeImage(t, b.source, image)
	}
	other := newBuilder(t, b.destination, neighbour, "")
	s.neighbour = other.writable(neighbour, "", 64)
	other.write(s.neighbour, 0, 1)
	inject(b.source, on("copy").takes(copyingTime))
	return s
}

// volume makes a replica on the source whose snapshots have so many clusters each, and
// is the request to rebuild it.
func (s *tightStore) volume(n int, clusters ...int) app.Request {
	s.t.Helper()
	name := func(side int) string { return fmt.Sprintf("vol-%d-r-%08d", n, side) }
	p := newBuilder(s.t, s.source, name(1), s.image)
	parent := s.image
	for i, count := range clusters {
		own := make(map[int]byte)
		for at := range count {
			own[at] = byte(n)
		}
		parent = p.snapshot(fmt.Sprint("s", i), parent, 64, own, minute(i))
	}
	p.writable(name(1), parent, 64)
	image := domain.NoBase()
	if s.image != "" {
		image = domain.ImageBase(imageName)
	}
	return app.Request{Source: app.Site{Host: s.source, Replica: name(1)}, Destination: app.Site{Host: s.destination, Replica: name(2)}, Base: image}
}

// rebuild rebuilds all at once, each so much later than the one before.
func (s *tightStore) rebuild(pause time.Duration, requests ...app.Request) (errs []error) {
	errs = make([]error, len(requests))
	var all sync.WaitGroup
	for i, request := range requests {
		all.Go(func() {
			time.Sleep(time.Duration(i) * pause)
			_, errs[i] = s.engine.Rebuild(context.Background(), request)
		})
	}
	all.Wait()
	return errs
}

func (s *tightStore) free() uint64 {
	s.t.Helper()
	store, err := s.destination.List(context.Background())
	require.NoError(s.t, err)
	return store.FreeClusters
}

// take has somebody else fill so many clusters.
func (s *tightStore) take(clusters int) {
	s.t.Helper()
	other := newBuilder(s.t, s.destination, "vol-99-r-0a1b2c3d", "")
	l := other.writable("vol-99-r-0a1b2c3d", "", 64)
	for at := range clusters {
		other.write(l, at, 9)
	}
}

// requireRoom: the other volume's writes work, and nothing is in flight.
func (s *tightStore) requireRoom(clusters uint64) {
	s.t.Helper()
	require.GreaterOrEqual(s.t, s.free(), clusters)
	for _, name := range namesOn(s.t, s.destination) {
		_, inFlight := domain.ReplicaInFlight(name)
		require.False(s.t, inFlight || domain.IsImageInFlight(name), "%s is left", name)
	}
	if clusters > 0 {
		require.NoError(s.t, s.destination.WriteAt(s.neighbour, filled(2), 5*cluster))
	}
}

func ended(errs []error) (complete, refused, failed int) {
	for _, err := range errs {
		switch {
		case err == nil:
			complete++
		case errors.Is(err, app.ErrRefused):
			refused++
		default:
			failed++
		}
	}
	return complete, refused, failed
}

// Two rebuilds, each of which fits alone, filled a store up to its last cluster.
func TestRebuildsThatDoNotFitTogetherDoNotBegin(t *testing.T) {
	for _, f := range []memory.Flavour{memory.Fork, memory.Upstream} {
		for _, pause := range []time.Duration{0, time.Second, copyingTime / 2} {
			t.Run(fmt.Sprintf("%s, %v apart", f, pause), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newTightStore(t, f, 30, 0)
					a, b := s.volume(1, 5, 5, 6), s.volume(2, 5, 5, 6)
					a.Options.ReservePercent, b.Options.ReservePercent = 10, 10
					errs := s.rebuild(pause, a, b)
					complete, refused, _ := ended(errs)
					require.Equal(t, []int{1, 1}, []int{complete, refused}, "%v", errs)
					for _, err := range errs {
						if err != nil {
							require.ErrorContains(t, err, "needs 16 clusters and 4 stay in reserve")
							require.ErrorContains(t, err, "other runs will take")
						}
					}
					s.requireRoom(14)
				})
			})
		}
	}
}

// What has been copied by then is not counted twice: all that fits is done.
func TestRebuildsThatFitTogetherGoOnTogether(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			flavour := []memory.Flavour{memory.Fork, memory.Upstream}[seed%2]
			image, need := r.IntN(2)*6, 0
			var sizes [][]int
			for range 2 + r.IntN(3) {
				var snapshots []int
				for range 1 + r.IntN(4) {
					snapshots = append(snapshots, r.IntN(9))
					need += snapshots[len(snapshots)-1]
				}
				sizes = append(sizes, snapshots)
			}
			spare := r.IntN(2)
			s := newTightStore(t, flavour, uint64(need+image+spare), image)
			var requests []app.Request
			for i, snapshots := range sizes {
				request := s.volume(i+1, snapshots...)
				request.Parallel = 1 + r.IntN(4)
				requests = append(requests, request)
			}
			for i, err := range s.rebuild(time.Duration(r.IntN(90))*time.Second, requests...) {
				require.NoError(t, err, "seed %d, volume %d of %v", seed, i+1, sizes)
			}
			require.EqualValues(t, spare, s.free(), "seed %d", seed)
			s.requireRoom(uint64(spare))
		})
	}
}

// What a rebuild will free is counted before what it will take, also by others.
func TestReplacedReplicaMakesRoomForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTightStore(t, memory.Fork, 30, 0)
		a, b := s.volume(1, 20), s.volume(2, 10)
		require.Empty(t, compact(s.rebuild(0, a)))
		require.EqualValues(t, 10, s.free())
		a.Options.Full = true
		require.Empty(t, compact(s.rebuild(time.Second, a, b)))
		require.Zero(t, s.free())
	})
}

func compact(errs []error) (some []error) {
	for _, err := range errs {
		if err != nil {
			some = append(some, err)
		}
	}
	return some
}

// Another process filled the store while a rebuild went on, and the rebuild went on
// until the store was full.
func TestRebuildEndsBeforeTheReserve(t *testing.T) {
	for _, f := range []memory.Flavour{memory.Fork, memory.Upstream} {
		t.Run(fmt.Sprintf("%s, while a snapshot is copied", f), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTightStore(t, f, 30, 0)
				request := s.volume(1, 24)
				request.Options.ReservePercent = 10
				began := time.Now()
				go func() {
					time.Sleep(copyingTime / 2)
					s.take(7)
				}()
				report, err := s.engine.Rebuild(t.Context(), request)
				requireNoRoom(t, report, err)
				require.LessOrEqual(t, time.Since(began), copyingTime/2+3*time.Second, "it was seen soon")
				s.requireRoom(4)
			})
		})
		t.Run(fmt.Sprintf("%s, between two copies", f), func(t *testing.T) {
			s := newTightStore(t, f, 30, 0)
			request := s.volume(1, 6, 6, 6, 6)
			request.Parallel, request.Options.ReservePercent = 1, 10
			s.source.Inject(nil)
			inject(s.destination, on("seal").once().does(func() { s.take(7) }))
			report, err := s.engine.Rebuild(t.Context(), request)
			requireNoRoom(t, report, err)
			require.EqualValues(t, 6*cluster, report.CopiedBytes, "nothing is copied after that")
			s.requireRoom(4)
			kept := 0
			if f == memory.Fork { // elsewhere the next run could not prove it, and would delete it
				kept = 1
			}
			require.Len(t, namesLike(t, s.destination, "vol-1-r-00000002"), kept)
		})
	}
}

func requireNoRoom(t *testing.T, report app.Report, err error) {
	t.Helper()
	require.ErrorIs(t, err, ports.ErrNoSpace)
	require.ErrorContains(t, err, "4 stay in reserve")
	require.Equal(t, app.OutcomeFailed, report.Outcome)
}

// Where several do not fit any more, one gives up, and the others wait for what it gives
// back.
func TestOneRebuildGivesUpWhenRoomRunsOut(t *testing.T) {
	for parallel, taken := range map[int]int{1: 22, 4: 20} {
		t.Run(fmt.Sprint("parallel ", parallel), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTightStore(t, memory.Fork, 60, 0)
				var requests []app.Request
				for n := range 3 {
					request := s.volume(n+1, 5, 5, 5)
					request.Parallel, request.Options.ReservePercent = parallel, 10
					requests = append(requests, request)
				}
				inject(s.destination, on("delete").takes(2*time.Second))
				go func() {
					time.Sleep(copyingTime / 2)
					s.take(taken)
				}()
				errs := s.rebuild(0, requests...)
				complete, _, failed := ended(errs)
				require.Equal(t, []int{2, 1}, []int{complete, failed}, "%v", errs)
				require.ErrorIs(t, errors.Join(errs...), ports.ErrNoSpace)
				s.requireRoom(7)
			})
		})
	}
}

// An import counts as a rebuild does.
func TestImportsAndRebuildsShareAStoresRoom(t *testing.T) {
	slowWrites := func(s *tightStore) {
		inject(s.destination, on("write").takes(10*time.Second))
	}
	content := func() []byte {
		var p []byte
		for i := range 10 {
			p = append(p, filled(byte(i+1))...)
		}
		return p
	}
	importing := func(s *tightStore) app.ImageRequest {
		request := importOf(s.destination, content())
		request.Name, request.ReservePercent = "debian", 10
		return request
	}
	t.Run("an import begins first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTightStore(t, memory.Fork, 20, 0)
			slowWrites(s)
			imported := make(chan error, 1)
			go func() {
				_, err := s.engine.ImportImage(context.Background(), importing(s))
				imported <- err
			}()
			time.Sleep(5 * time.Second)
			request := s.volume(1, 10)
			request.Options.ReservePercent = 10
			_, err := s.engine.Rebuild(t.Context(), request)
			require.ErrorIs(t, err, app.ErrRefused)
			require.ErrorContains(t, err, "other runs will take")
			require.NoError(t, <-imported)
			s.requireRoom(10)
		})
	})
	t.Run("a rebuild begins first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTightStore(t, memory.Fork, 20, 0)
			rebuilt := make(chan error, 1)
			request := s.volume(1, 10)
			go func() {
				_, err := s.engine.Rebuild(context.Background(), request)
				rebuilt <- err
			}()
			time.Sleep(5 * time.Second)
			_, err := s.engine.ImportImage(t.Context(), importing(s))
			require.ErrorIs(t, err, app.ErrRefused)
			require.ErrorContains(t, err, "other runs will take")
			require.NoError(t, <-rebuilt)
			s.requireRoom(10)
		})
	})
	t.Run("another process takes the room of an import", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTightStore(t, memory.Fork, 20, 0)
			slowWrites(s)
			go func() {
				time.Sleep(15 * time.Second)
				s.take(9)
			}()
			report, err := s.engine.ImportImage(t.Context(), importing(s))
			require.ErrorIs(t, err, ports.ErrNoSpace)
			require.ErrorContains(t, err, "3 stay in reserve")
			require.Equal(t, app.OutcomeFailed, report.Outcome)
			s.requireRoom(11)
		})
	})
}

// An image that several rebuilds wait for is fetched once, and counted once.
func TestSharedImageIsCountedOnce(t *testing.T) {
	for _, pause := range []time.Duration{0, copyingTime / 2} {
		synctest.Test(t, func(t *testing.T) {
			s := newTightStore(t, memory.Fork, 20, 8)
			a, b, c := s.volume(1, 4), s.volume(2, 4), s.volume(3, 4)
			require.Empty(t, compact(s.rebuild(pause, a, b, c)))
			require.Zero(t, s.free())
		})
	}
}

// noGauge is a host that tells what is free by a listing alone.
type noGauge struct{ ports.Host }

func TestRoomIsSeenWhereOnlyAListingTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTightStore(t, memory.Fork, 30, 0)
		request := s.volume(1, 24)
		request.Destination.Host, request.Options.ReservePercent = noGauge{s.destination}, 10
		go func() {
			time.Sleep(copyingTime / 2)
			s.take(7)
		}()
		_, err := s.engine.Rebuild(t.Context(), request)
		require.ErrorIs(t, err, ports.ErrNoSpace)
		s.requireRoom(4)
	})
}
