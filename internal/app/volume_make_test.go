package app_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

const madeSize = 8 * cluster

// makeFixture is hosts on which a volume is made and removed.
type makeFixture struct {
	t      *testing.T
	hosts  []*memory.Host
	mirror *memory.Mirror
	fabric *memory.Fabric
}

func newMakeFixture(t *testing.T, hosts int, c memory.Config) *makeFixture {
	t.Helper()
	b := &makeFixture{t: t, fabric: memory.NewFabric()}
	c.ClusterSize, c.Seed = cluster, 1
	for i := range hosts {
		c.Name = fmt.Sprintf("disk-a%d", i+1)
		b.hosts = append(b.hosts, b.fabric.NewHost(c))
	}
	var err error
	b.mirror, err = b.fabric.NewMirror(memory.MirrorConfig{Name: "vol-1", New: true})
	require.NoError(t, err)
	return b
}

func (b *makeFixture) request() app.VolumeRequest {
	r := app.VolumeRequest{Mirror: b.mirror, Base: domain.NoBase()}
	for i, host := range b.hosts {
		r.Members = append(r.Members, app.Site{Host: host, Replica: liveNames[i]})
	}
	return r
}

// inject asks for the fault of each call of the hosts and the mirror.
func (b *makeFixture) inject(ask func(n int, c memory.Call) memory.Fault) {
	var mu sync.Mutex
	n := 0
	one := func(c memory.Call) memory.Fault {
		if strings.HasPrefix(c.Method, "member-") {
			return memory.Fault{}
		}
		mu.Lock()
		defer mu.Unlock()
		n++
		return ask(n, c)
	}
	b.mirror.Inject(one)
	for _, host := range b.hosts {
		host.Inject(one)
	}
}

func (b *makeFixture) noFaults() {
	b.mirror.Inject(nil)
	for _, host := range b.hosts {
		host.Inject(nil)
	}
}

func (b *makeFixture) contents() (all []map[string]content) {
	for _, host := range b.hosts {
		all = append(all, contents(b.t, host))
	}
	return all
}

// requireMade looks at the members, and uses the volume.
func (b *makeFixture) requireMade(sites []app.Site) {
	b.t.Helper()
	v, err := b.mirror.Volume(b.t.Context())
	require.NoError(b.t, err)
	require.False(b.t, v.Pending)
	require.Len(b.t, v.Members, len(sites))
	for i, at := range sites {
		r := list(b.t, b.hosts[i], at.Replica)
		require.NotNil(b.t, r.Head)
		m, is := v.Member(r.Head.UUID)
		require.True(b.t, is && m.Mode == domain.ModeRW)
		require.Empty(b.t, r.InFlight)
		require.Equal(b.t, domain.UserExport, r.Head.UsedBy.Kind)
		opened, err := b.hosts[i].Opened(b.t.Context())
		require.NoError(b.t, err)
		require.Empty(b.t, opened)
	}
	for at := range 3 {
		_, err = b.mirror.WriteAt(filled(byte(70+at)), int64(at)*2*cluster)
		require.NoError(b.t, err)
	}
	for i, at := range sites {
		head := list(b.t, b.hosts[i], at.Replica).Head.UUID
		require.Equal(b.t, sha(b.t, b.hosts[0], list(b.t, b.hosts[0], sites[0].Replica).Head.UUID), sha(b.t, b.hosts[i], head))
	}
}

// requireRemoved: no mirror, no way to a head, and the replicas as they should be.
func (b *makeFixture) requireRemoved(replicas bool) {
	b.t.Helper()
	_, err := b.mirror.Volume(b.t.Context())
	require.ErrorIs(b.t, err, ports.ErrNotFound)
	for i, host := range b.hosts {
		r := list(b.t, host, liveNames[i])
		require.Equal(b.t, !replicas, r.Exists())
		if r.Head != nil {
			require.Zero(b.t, r.Head.UsedBy)
		}
		opened, err := host.Opened(b.t.Context())
		require.NoError(b.t, err)
		require.Empty(b.t, opened)
	}
}

func TestVolumeIsCreatedAndDeleted(t *testing.T) {
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		for _, members := range []int{1, 3} {
			for name, base := range map[string]domain.Base{
				"no base": domain.NoBase(), "an image": domain.ImageBase(imageName), "a clone": domain.CloneBase("vol-9", "daily"),
			} {
				t.Run(fmt.Sprintf("%v, %d members, %s", flavour, members, name), func(t *testing.T) {
					b := newMakeFixture(t, members, memory.Config{Flavour: flavour})
					for _, host := range b.hosts {
						switch name {
						case "an image":
							makeImage(t, host, 8)
						case "a clone":
							newBuilder(t, host, nineHere, "").build(nineTree)
						}
					}
					request := b.request()
					request.Base = base
					report, err := app.New(nil).CreateVolume(t.Context(), request, madeSize)
					require.NoError(t, err)
					require.Empty(t, report.Faults())
					require.Len(t, report.Replicas, members)
					b.requireMade(request.Members)
					again, err := app.New(nil).CreateVolume(t.Context(), request, madeSize)
					require.NoError(t, err, "it is there")
					require.Equal(t, report.Volume, again.Volume)

					removal, err := app.New(nil).DeleteVolume(t.Context(), request, false)
					require.NoError(t, err)
					require.Empty(t, removal.Plans)
					b.requireRemoved(false)
					_, err = app.New(nil).CreateVolume(t.Context(), request, 0)
					require.NoError(t, err, "over whole and equal replicas")
					b.requireMade(request.Members)
					removal, err = app.New(nil).DeleteVolume(t.Context(), request, true)
					require.NoError(t, err)
					require.Len(t, removal.Plans, members)
					b.requireRemoved(true)
				})
			}
		}
	}
}

// A volume that the engine has made gets a further member while clients use it.
func TestCreatedVolumeIsRebuilt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newMakeFixture(t, 2, memory.Config{})
		_, err := app.New(nil).CreateVolume(t.Context(), b.request(), madeSize)
		require.NoError(t, err)
		live := &liveFixture{t: t, members: b.hosts, names: liveNames[:2], mirror: b.mirror, freezer: freezer.Func(b.mirror.Suspend, b.mirror.Resume)}
		live.to = b.fabric.NewHost(memory.Config{Name: "disk-b", ClusterSize: cluster, Seed: 1})
		live.start(time.Millisecond)
		_, err = app.New(nil).RebuildOnline(t.Context(), live.request())
		live.stop()
		require.NoError(t, err)
		live.requireWhole()
		b.hosts = append(b.hosts, live.to)
		request := b.request()
		request.Members[2].Replica = copyName
		_, err = app.New(nil).DeleteVolume(t.Context(), request, true)
		require.NoError(t, err)
		for i, at := range request.Members {
			require.False(t, list(t, b.hosts[i], at.Replica).Exists())
		}
	})
}

// deaths are the ways in which an engine can fail at a call.
var deaths = map[string]func(n, at int) memory.Fault{
	"the call fails": func(n, at int) memory.Fault {
		if n == at {
			return memory.Fault{Before: ports.ErrCorrupt}
		}
		return memory.Fault{}
	},
	"the engine dies before the call": func(n, at int) memory.Fault {
		if n >= at {
			return memory.Fault{Before: ports.ErrCorrupt}
		}
		return memory.Fault{}
	},
	"the engine dies after the call": func(n, at int) memory.Fault {
		switch {
		case n == at:
			return memory.Fault{After: ports.ErrCorrupt}
		case n > at:
			return memory.Fault{Before: ports.ErrCorrupt}
		}
		return memory.Fault{}
	},
}

// eachDeath makes each call fail in each way, repeats what failed, and looks at the result.
func eachDeath(t *testing.T, prepare func(b *makeFixture), do func(b *makeFixture) error, done func(b *makeFixture)) {
	t.Helper()
	for what, fault := range deaths {
		t.Run(what, func(t *testing.T) {
			for at := 1; ; at++ {
				finished := false
				synctest.Test(t, func(t *testing.T) {
					b := newMakeFixture(t, 2, memory.Config{})
					prepare(b)
					calls := 0
					b.inject(func(n int, _ memory.Call) memory.Fault { calls = n; return fault(n, at) })
					_ = do(b) // a call whose failure does no harm may be ignored
					b.noFaults()
					finished = calls < at
					require.NoError(t, do(b), "call %d", at)
					done(b)
				})
				if finished {
					require.Greater(t, at, 10)
					return
				}
			}
		})
	}
}

// An engine that fails at any call is followed by one that completes the same command.
func TestVolumeCreationIsCompleted(t *testing.T) {
	for _, base := range []domain.Base{domain.NoBase(), domain.CloneBase("vol-9", "daily")} {
		t.Run(base.String(), func(t *testing.T) {
			eachDeath(t, func(b *makeFixture) {
				for _, host := range b.hosts {
					newBuilder(b.t, host, nineHere, "").build(nineTree)
				}
			}, func(b *makeFixture) error {
				request := b.request()
				request.Base = base
				_, err := app.New(nil).CreateVolume(b.t.Context(), request, madeSize)
				return err
			}, func(b *makeFixture) { b.requireMade(b.request().Members) })
		})
	}
}

// What is left of a creation can be deleted, too, once a head exists.
func TestVolumeCreationIsUndone(t *testing.T) {
	for at := 1; ; at++ {
		b := newMakeFixture(t, 2, memory.Config{})
		calls := 0
		b.inject(func(n int, _ memory.Call) memory.Fault {
			calls = n
			return deaths["the engine dies after the call"](n, at)
		})
		_, failure := app.New(nil).CreateVolume(t.Context(), b.request(), madeSize)
		b.noFaults()
		_, err := b.mirror.Volume(t.Context())
		if calls < at {
			require.NoError(t, failure)
			return
		}
		if err != nil {
			require.ErrorIs(t, err, ports.ErrNotFound, "only replicas are there")
			continue
		}
		_, err = app.New(nil).DeleteVolume(t.Context(), b.request(), true)
		require.NoError(t, err, "call %d", at)
		b.requireRemoved(true)
	}
}

func TestVolumeDeletionIsCompleted(t *testing.T) {
	for _, replicas := range []bool{false, true} {
		t.Run(fmt.Sprintf("replicas: %t", replicas), func(t *testing.T) {
			eachDeath(t, func(b *makeFixture) {
				_, err := app.New(nil).CreateVolume(b.t.Context(), b.request(), madeSize)
				require.NoError(b.t, err)
			}, func(b *makeFixture) error {
				_, err := app.New(nil).DeleteVolume(b.t.Context(), b.request(), replicas)
				if errors.Is(err, app.ErrRefused) && errors.Is(err, ports.ErrNotFound) {
					return nil // the last call was made
				}
				return err
			}, func(b *makeFixture) { b.requireRemoved(replicas) })
		})
	}
}

// Replicas with data become a volume only if it is proven equal, or was read and is equal.
func TestVolumeOverReplicasWithData(t *testing.T) {
	const tree = "snap1 0=1 1=2\n  snap2 1=3 4=4\n    head\n  snap3 2=6\n"
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		for _, test := range []struct{ name, tree, says string }{
			{"equal", tree, ""},
			{"equal, with data in the heads", strings.Replace(tree, "head", "head 5=5", 1), ""},
			{"another snapshot", strings.Replace(tree, "snap3", "snap4", 1), "the replicas differ, so they cannot be mirrored: snap3: missing"},
			{"other data", strings.Replace(tree, "4=4", "4=5", 1), ""},
			{"other data in the head", strings.Replace(tree, "head", "head 5=6", 1), "the head of replica "},
		} {
			t.Run(fmt.Sprintf("%v: %s", flavour, test.name), func(t *testing.T) {
				b := newMakeFixture(t, 2, memory.Config{Flavour: flavour})
				first := tree
				switch test.name {
				case "equal, with data in the heads", "other data in the head":
					first = strings.Replace(tree, "head", "head 5=5", 1)
				case "other data":
					test.says = "the replicas differ"
					if flavour == memory.Upstream {
						test.says = "snapshot snap2 of replica " + liveNames[1] + " has other data"
					}
				}
				newBuilder(t, b.hosts[0], liveNames[0], "").build(first)
				newBuilder(t, b.hosts[1], liveNames[1], "").build(test.tree)
				before := b.contents()
				_, err := app.New(nil).CreateVolume(t.Context(), b.request(), 0)
				if test.says == "" {
					require.NoError(t, err)
					b.requireMade(b.request().Members)
					return
				}
				require.ErrorIs(t, err, app.ErrRefused)
				require.ErrorContains(t, err, test.says)
				require.Equal(t, before, b.contents())
			})
		}
	}
}

// Replicas over bases of one name and other data are no mirror, whether they exist or not.
func TestVolumeOverBasesThatDiffer(t *testing.T) {
	image := func(clusters int, last byte) func(*testing.T, *memory.Host) string {
		return func(t *testing.T, host *memory.Host) string {
			return newBuilder(t, host, "", "").makeImageOf(clusters, map[int]byte{0: 200, 1: last}).image
		}
	}
	clone := func(value int) func(*testing.T, *memory.Host) string {
		return func(t *testing.T, host *memory.Host) string {
			nine := newBuilder(t, host, nineHere, "").build(strings.Replace(nineTree, "0=31", fmt.Sprintf("0=%d", value), 1))
			return makeEntryPoint(nine, "daily")
		}
	}
	for _, test := range []struct {
		name     string
		base     domain.Base
		one, two func(*testing.T, *memory.Host) string // UUID of the parent
		equal    bool
	}{
		{"equal images", domain.ImageBase(imageName), image(8, 7), image(8, 7), true},
		{"images of other sizes", domain.ImageBase(imageName), image(8, 7), image(4, 7), false},
		{"images of other data", domain.ImageBase(imageName), image(8, 7), image(8, 9), false},
		{"equal snapshots of another volume", domain.CloneBase("vol-9", "daily"), clone(31), clone(31), true},
		{"snapshots of other data", domain.CloneBase("vol-9", "daily"), clone(31), clone(99), false},
	} {
		for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
			for _, replicas := range []int{0, 1, 2} {
				t.Run(fmt.Sprintf("%s, %v, %d replicas exist", test.name, flavour, replicas), func(t *testing.T) {
					b := newMakeFixture(t, 2, memory.Config{Flavour: flavour})
					parents := []string{test.one(t, b.hosts[0]), test.two(t, b.hosts[1])}
					for i := range replicas {
						newBuilder(t, b.hosts[i], liveNames[i], parents[i]).build("image\n  head\n")
					}
					request := b.request()
					request.Base = test.base
					before := b.contents()
					_, err := app.New(nil).CreateVolume(t.Context(), request, madeSize)
					if test.equal {
						require.NoError(t, err)
						b.requireMade(request.Members)
						return
					}
					require.ErrorIs(t, err, app.ErrRefused)
					require.Regexp(t, "the bases differ|has other data than that of replica", err.Error())
					require.Equal(t, before, b.contents())
				})
			}
		}
	}
}

// notMaker is a mirror of an owner who makes it himself.
type notMaker struct{ ports.Mirror }

// busyMirror is in use by clients.
type busyMirror struct{ *memory.Mirror }

// Remove implements ports.Maker.
func (busyMirror) Remove(context.Context, ...string) error {
	return fmt.Errorf("it is exported: %w", ports.ErrBusy)
}

func TestVolumeCreationAndDeletionAreRefused(t *testing.T) {
	create := func(size uint64) func(app.VolumeRequest) error {
		return func(r app.VolumeRequest) error {
			_, err := app.New(nil).CreateVolume(t.Context(), r, size)
			return err
		}
	}
	remove := func(replicas bool) func(app.VolumeRequest) error {
		return func(r app.VolumeRequest) error {
			_, err := app.New(nil).DeleteVolume(t.Context(), r, replicas)
			return err
		}
	}
	made := func(b *makeFixture) { require.NoError(t, create(madeSize)(b.request())) }
	nothing := func(*makeFixture) {}
	less := func(r *app.VolumeRequest) { r.Members = r.Members[:1] }
	same := func(*app.VolumeRequest) {}
	for _, test := range []struct {
		name    string
		prepare func(b *makeFixture)
		change  func(r *app.VolumeRequest)
		do      func(app.VolumeRequest) error
		says    string
	}{
		{"another owner's mirror", nothing, func(r *app.VolumeRequest) { r.Mirror = notMaker{r.Mirror} }, create(madeSize), "cannot be made or removed by the engine"},
		{"a replica twice", nothing, func(r *app.VolumeRequest) { r.Members[1] = r.Members[0] }, create(madeSize), "replica " + liveNames[0] + " on lvstore disk-a1 is given twice"},
		{"a name twice", nothing, func(r *app.VolumeRequest) { r.Members[1].Replica = r.Members[0].Replica }, create(madeSize), "on lvstore disk-a2 is also given on lvstore disk-a1: the replicas of a volume need different names"},
		{"replicas of two volumes", nothing, func(r *app.VolumeRequest) { r.Members[1].Replica = "vol-2-r-0a0a0a0a" }, create(madeSize), "of different volumes"},
		{"no size", nothing, same, create(0), "does not exist, and the volume's size is not given"},
		{"no base", nothing, func(r *app.VolumeRequest) { r.Base = domain.Base{} }, create(madeSize), "base is not known"},
		{"it exists with another size", made, same, create(2 * madeSize), "volume vol-1 exists already, and has 32768 bytes, not 65536"},
		{"it exists with another base", made, func(r *app.VolumeRequest) { r.Base = domain.ImageBase(imageName) }, create(madeSize), "volume vol-1 exists already, and backing image " + imageName + " is not its base"},
		{"other members", made, less, create(madeSize), "exists already, and member "},
		{"another size", func(b *makeFixture) {
			newBuilder(t, b.hosts[1], liveNames[1], "").build("clusters 6\nhead\n")
		}, same, create(madeSize), "has 24576 bytes, and the volume 32768"},
		{"one has data, one is not there", func(b *makeFixture) {
			newBuilder(t, b.hosts[0], liveNames[0], "").build(liveTree)
		}, same, create(0), "make the volume of the first alone, then rebuild the other one under it"},
		{"one has no head", func(b *makeFixture) {
			newBuilder(t, b.hosts[0], liveNames[0], "").build("snap1 0=1\n")
		}, same, create(0), "has no head"},
		{"one is used by something else", func(b *makeFixture) {
			newBuilder(t, b.hosts[0], liveNames[0], "").build("head\n")
			require.NoError(t, b.hosts[0].Use(list(t, b.hosts[0], liveNames[0]).Head.UUID, domain.User{Kind: domain.UserRAID, Name: "other"}))
		}, same, create(0), "a base bdev of RAID other"},
		{"one is used, of a creation that began", func(b *makeFixture) {
			b.inject(func(_ int, c memory.Call) memory.Fault {
				if c.Method == "make" {
					return memory.Fault{Before: ports.ErrCorrupt}
				}
				return memory.Fault{}
			})
			require.Error(t, create(madeSize)(b.request()))
			b.noFaults()
		}, less, create(madeSize), "which is none of the replicas given"},
		{"no volume", nothing, same, remove(false), "the volume does not exist"},
		{"a member that is not given", made, less, remove(false), "name every replica of the volume"},
		{"a replica that is no member", made, func(r *app.VolumeRequest) { r.Members[1].Replica = liveNames[2] }, remove(false), "not found"},
		{"a replica of something else", func(b *makeFixture) {
			made(b)
			newBuilder(t, b.hosts[1], liveNames[2], "").build("head\n")
		}, func(r *app.VolumeRequest) {
			r.Members = append(slices.Clone(r.Members), app.Site{Host: r.Members[1].Host, Replica: liveNames[2]})
		}, remove(false), "is no member of volume vol-1"},
		{"linked clones of a replica", func(b *makeFixture) {
			nine := newBuilder(t, b.hosts[0], liveNames[0], "").build(nineTree)
			newBuilder(t, b.hosts[1], liveNames[1], "").build(nineTree)
			makeEntryPoint(nine, "daily")
			newBuilder(t, b.hosts[0], copyName, named(t, b.hosts[0], liveNames[0]+"-clone-ep-daily").UUID).build("image\n  head\n")
			made(b)
		}, same, remove(true), "replicas are linked clones of it: " + copyName},
		{"clients", made, func(r *app.VolumeRequest) { r.Mirror = busyMirror{r.Mirror.(*memory.Mirror)} }, remove(false), "volume vol-1 is in use: it is exported"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newMakeFixture(t, 2, memory.Config{})
			test.prepare(b)
			request := b.request()
			test.change(&request)
			before := b.contents()
			err := test.do(request)
			require.ErrorIs(t, err, app.ErrRefused)
			require.ErrorContains(t, err, test.says)
			require.Equal(t, before, b.contents())
		})
	}
}

// A deletion that is only planned does not need the replicas for itself.
func TestPlanOfVolumeRemovalLeasesNothing(t *testing.T) {
	b := newMakeFixture(t, 2, memory.Config{})
	_, err := app.New(nil).CreateVolume(t.Context(), b.request(), madeSize)
	require.NoError(t, err)
	for i, host := range b.hosts {
		store, _ := host.Identity()
		release, err := host.Lease(t.Context(), "replica "+store+"/"+liveNames[i], ports.Lease{Shared: true, Holder: "a snapshot"})
		require.NoError(t, err)
		defer release()
	}
	_, err = app.New(nil).PlanVolumeRemoval(t.Context(), b.request(), true)
	require.NoError(t, err)
	_, err = app.New(nil).DeleteVolume(t.Context(), b.request(), true)
	require.ErrorContains(t, err, "is in use by a snapshot: wait until that has ended")
}
