package app_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// newFixtureWithoutImage is a rebuild that fetches the image.
func newFixtureWithoutImage(t *testing.T, f flavours) (*fixture, app.Request) {
	t.Helper()
	b, request := trial{world: faultScenarios[2], flavours: f, parallel: 1}.build(t)
	require.True(t, faultScenarios[2].absent)
	return b, request
}

var bothProve = allFlavours[0]

// spoilImage has copies of the image get other bytes, once or for good.
func spoilImage(host *memory.Host) {
	inject(host, on("copy").ofImages().gets(memory.Fault{Spoil: memory.SpoilBytes}))
}

// imageOn is what has the image's name on a host.
func imageOn(t *testing.T, host ports.Host) (domain.BackingImage, bool) {
	t.Helper()
	store, err := host.List(context.Background())
	require.NoError(t, err)
	return store.BackingImage(imageName)
}

// A wrong image was sealed under its final name, with its whole record, and proven then.
// Where it could not be deleted, the next run believed it by that record.
func TestWrongImageIsNeverSealed(t *testing.T) {
	for name, fault := range map[string]memory.Fault{
		"the target answers no more": {Before: ports.ErrUnavailable},
		"the target refuses":         {Before: ports.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, request := newFixtureWithoutImage(t, bothProve)
				spoilImage(b.source)
				proofs := on("prove").where(func(memory.Call) bool { return len(namesLike(t, b.destination, "bi-rebuilding-")) > 0 })
				inject(b.destination, proofs, on("delete").after(proofs).gets(fault))
				_, err := app.New(nil).Rebuild(t.Context(), request)
				require.ErrorIs(t, err, ports.ErrCorrupt)
				require.ErrorIs(t, err, app.ErrCleanUp)
				_, there := imageOn(t, b.destination)
				require.False(t, there, "what was never proven has the image's name")
				require.NotEmpty(t, namesLike(t, b.destination, "bi-rebuilding-"))

				b.source.Inject(nil)
				b.destination.Inject(nil)
				sent := b.source.Sent()
				rebuildCleanly(t, request)
				requireEqualViews(t, b, sourceName, copyName, true)
				require.Greater(t, b.source.Sent(), sent, "it is fetched anew")
				image, _ := imageOn(t, b.destination)
				require.Equal(t, domain.ImageRecord{UUID: "8f5fd5be", Checksum: "sha512"}, image.Lvol.Image)
			})
		})
	}
}

func namesLike(t *testing.T, host ports.Host, prefix string) []string {
	t.Helper()
	return slices.DeleteFunc(namesOn(t, host), func(name string) bool { return !strings.HasPrefix(name, prefix) })
}

// silent is a host that leaves something out of what it proves.
type silent struct {
	*memory.Host

	of func(name string) bool
}

func (s *silent) Prove(ctx context.Context, snapshots []string) (map[string]domain.Clusters, error) {
	told, err := s.Host.Prove(ctx, snapshots)
	for uuid := range told {
		if l, err := s.Host.Look(ctx, uuid); err == nil && s.of(l.Name) {
			delete(told, uuid)
		}
	}
	return told, err
}

// Two digests that neither host had told were equal, and the image was proven by them.
func TestHostsWithoutChecksumsProveNoImage(t *testing.T) {
	ofImages := func(name string) bool { return strings.HasPrefix(name, "bi-") }
	for name, silence := range map[string]func(b *fixture, r *app.Request){
		"on either side": func(b *fixture, r *app.Request) {
			r.Source.Host, r.Destination.Host = &silent{b.source, ofImages}, &silent{b.destination, ofImages}
		},
		"on the source":      func(b *fixture, r *app.Request) { r.Source.Host = &silent{b.source, ofImages} },
		"on the destination": func(b *fixture, r *app.Request) { r.Destination.Host = &silent{b.destination, ofImages} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, request := newFixtureWithoutImage(t, bothProve)
				silence(b, &request)
				_, err := app.New(nil).Rebuild(t.Context(), request)
				require.ErrorContains(t, err, "has no map and checksum")
				_, there := imageOn(t, b.destination)
				require.False(t, there)
				require.Empty(t, namesLike(t, b.destination, "bi-rebuilding-"))
			})
		})
	}
}

// A verification by proof compared what hosts told, and took the rest for equal.
func TestProofNeedsChecksums(t *testing.T) {
	for what, of := range map[string]func(name string) bool{
		"the image":  func(name string) bool { return strings.HasPrefix(name, "bi-") },
		"a snapshot": func(name string) bool { return strings.HasSuffix(name, "snap13") },
	} {
		t.Run(what, func(t *testing.T) {
			b, request := trial{world: faultScenarios[0], flavours: bothProve, parallel: 1}.build(t)
			request.Proof = true
			host := &silent{b.destination, of}
			request.Destination.Host = host
			report, err := app.New(nil).Rebuild(t.Context(), request)
			require.ErrorIs(t, err, ports.ErrCorrupt)
			require.Len(t, report.Violations, 1)
			require.Contains(t, report.Violations[0].Detail, "could not be proven")
			require.Nil(t, list(t, b.destination, copyName).Head)
			host.of = func(string) bool { return false }
			rebuildCleanly(t, request)
			if what == "the image" { // with a snapshot unproven there is something to do
				host.of = of
				report, err = app.New(nil).Rebuild(t.Context(), request)
				require.ErrorIs(t, err, ports.ErrCorrupt)
				require.Empty(t, report.Plan.Operations)
				require.Len(t, report.Violations, 1)
			}
		})
	}
}

// "--verify proof" did not look at the image, which its record vouches for.
func TestProofCoversTheImage(t *testing.T) {
	for what, c := range map[string]struct {
		own      map[int]byte
		wrong    bool
		doubtful bool
	}{
		"the same":                  {own: map[int]byte{0: 200, 1: 201, 2: 202, 3: 203}},
		"other bytes":               {own: map[int]byte{0: 200, 1: 201, 2: 202, 3: 99}, wrong: true},
		"in another place":          {own: map[int]byte{0: 200, 1: 201, 2: 202, 4: 203}, wrong: true},
		"with clusters of zeros":    {own: map[int]byte{0: 200, 1: 201, 2: 202, 3: 203, 5: 0}, doubtful: true},
		"as nothing but its record": {own: map[int]byte{}, doubtful: true},
	} {
		t.Run(what, func(t *testing.T) {
			b := newFixture(t, memory.Config{}, memory.Config{})
			newBuilder(t, b.source, sourceName, "").makeImageOf(worldClusters, map[int]byte{0: 200, 1: 201, 2: 202, 3: 203}).
				build("image\n s1 7=1 at=1\n  head")
			newBuilder(t, b.destination, copyName, "").makeImageOf(worldClusters, c.own)
			for range 2 { // the second one has nothing to do
				report, err := app.New(nil).Rebuild(t.Context(), app.Request{
					Source: app.Site{Host: b.source, Replica: sourceName}, Destination: app.Site{Host: b.destination, Replica: copyName}, Proof: true,
				})
				if c.wrong {
					require.ErrorIs(t, err, ports.ErrCorrupt)
					require.Len(t, report.Violations, 1)
					require.Equal(t, domain.RuleImage, report.Violations[0].Rule)
					require.Nil(t, list(t, b.destination, copyName).Head)
					continue
				}
				require.NoError(t, err)
				require.Equal(t, c.doubtful, strings.Contains(strings.Join(report.Warnings, "\n"), "only its record identifies"), "%v", report.Warnings)
			}
		})
	}
}

// plainHost is a host that can prove, and merge nothing.
type plainHost struct {
	ports.Host
	ports.Prover
}

// Where the proof comes after the seal nothing is recorded with the image, so whoever
// finds it so proves it.
func TestImageGetsItsRecordOnceProven(t *testing.T) {
	b, request := newFixtureWithoutImage(t, bothProve)
	request.Destination.Host = plainHost{b.destination, b.destination}
	rebuildCleanly(t, request)
	requireEqualViews(t, b, sourceName, copyName, true)
	image, _ := imageOn(t, b.destination)
	require.Equal(t, domain.ImageRecord{}, image.Lvol.Image)

	for name, delete := range map[string]memory.Fault{"and is deleted": {}, "and cannot be deleted": {Before: ports.ErrInvalid}} {
		t.Run(name, func(t *testing.T) {
			b, request := newFixtureWithoutImage(t, bothProve)
			request.Destination.Host = plainHost{b.destination, b.destination}
			spoilImage(b.source)
			inject(b.destination, on("delete").ofImages().gets(delete))
			_, err := app.New(nil).Rebuild(t.Context(), request)
			require.ErrorIs(t, err, ports.ErrCorrupt)
			b.source.Inject(nil)
			if delete.Before == nil {
				rebuildCleanly(t, request)
				return
			}
			_, err = app.New(nil).Rebuild(t.Context(), request)
			require.ErrorIs(t, err, app.ErrRefused)
			require.ErrorContains(t, err, "other bytes")
		})
	}
}

// Where nothing tells what bytes an image has, one that was copied wrongly got its name
// before the views were compared.
func TestImageIsReadBackBeforeItsSeal(t *testing.T) {
	for _, f := range allFlavours[1:] {
		t.Run(f.String(), func(t *testing.T) {
			b, request := newFixtureWithoutImage(t, f)
			request.Views = true
			spoilImage(b.source)
			_, err := app.New(nil).Rebuild(t.Context(), request)
			require.ErrorIs(t, err, ports.ErrCorrupt)
			require.ErrorContains(t, err, "the bytes of the fetched image differ")
			_, there := imageOn(t, b.destination)
			require.False(t, there)
			b.source.Inject(nil)
			rebuildCleanly(t, request)
			requireEqualViews(t, b, sourceName, copyName, true)
		})
	}
}

// occupyingHost has somebody else make lvols of names that were just drawn for an image: of the
// first, and of every other one after it.
type occupyingHost struct {
	*memory.Host

	t     *testing.T
	most  int
	asked int
	names []string
}

func (h *occupyingHost) take(name string) {
	if !strings.HasPrefix(name, "bi-rebuilding-") {
		return
	}
	if h.asked++; h.asked%2 == 1 && len(h.names) < h.most {
		_, err := h.Host.Create(context.Background(), name, cluster)
		require.NoError(h.t, err)
		h.names = append(h.names, name)
	}
}

func (h *occupyingHost) Create(ctx context.Context, name string, size uint64) (string, error) {
	h.take(name)
	return h.Host.Create(ctx, name, size)
}

func (h *occupyingHost) Seal(ctx context.Context, uuid, name string, record ports.SealRecord) (string, error) {
	h.take(name)
	return h.Host.Seal(ctx, uuid, name, record)
}

func (h *occupyingHost) Clone(ctx context.Context, snapshot, name string, size uint64, record string) (string, error) {
	h.take(name)
	return h.Host.Clone(ctx, snapshot, name, size, record)
}

// The clean-up deleted what had a name that was drawn for an image, whoever had made it.
// (What is in flight of the replica itself is the rebuild's, whoever has left it.)
func TestForeignLvolOfDrawnNameStays(t *testing.T) {
	for ends, fail := range map[string]bool{"completes": false, "fails": true} {
		t.Run("it "+ends, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, request := newFixtureWithoutImage(t, bothProve)
				host := &occupyingHost{Host: b.destination, t: t, most: 3}
				request.Destination.Host = host
				if fail {
					inject(b.source, on("copy").of("snap31").fails(ports.ErrInvalid))
				}
				_, err := app.New(nil).Rebuild(t.Context(), request)
				require.Equal(t, fail, err != nil, "%v", err)
				require.Len(t, host.names, 3, "of the lvol that is filled, of the snapshot that is proven, of its clone")
				require.Subset(t, namesOn(t, b.destination), host.names)
			})
		})
	}
}

func TestForeignLvolOfNameDrawnByImportStays(t *testing.T) {
	for ends, fail := range map[string]bool{"completes": false, "fails": true} {
		t.Run("it "+ends, func(t *testing.T) {
			memoryHost := imageHost(memory.Fork)
			host := &occupyingHost{Host: memoryHost, t: t, most: 1}
			if fail {
				inject(memoryHost, on("write").fails(ports.ErrInvalid))
			}
			_, err := app.New(nil).ImportImage(t.Context(), importOf(host, disk()))
			require.Equal(t, fail, err != nil, "%v", err)
			require.Len(t, host.names, 1)
			require.Subset(t, namesOn(t, memoryHost), host.names)
		})
	}
}
