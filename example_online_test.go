package rebuild_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/memhost"
)

// ownVolume is a mirror of one's own: its clients call write, which writes to every member. It
// is a rebuild.Mirror and a rebuild.Freezer.
type ownVolume struct {
	fabric *memhost.Fabric // finds the head at a way

	frozen sync.RWMutex // clients hold it to read, a freeze to write

	mu      sync.Mutex
	members []ownMember
}

type ownMember struct {
	memhost.Head
	since time.Time // it has had every write from then on
}

// write is what clients do. A member that fails would have to leave for good: it lacks a write.
func (v *ownVolume) write(p []byte, offset uint64) error {
	v.frozen.RLock()
	defer v.frozen.RUnlock()
	v.mu.Lock()
	members := slices.Clone(v.members)
	v.mu.Unlock()
	for _, m := range members {
		if err := m.Host.WriteAt(m.UUID, p, offset); err != nil {
			return err
		}
	}
	return nil
}

// Volume lists the members. The engine asks whether the new one was ever away.
func (v *ownVolume) Volume(context.Context) (rebuild.Volume, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	listed := rebuild.Volume{Name: "vol-1"}
	for _, m := range v.members {
		listed.Members = append(listed.Members, rebuild.Member{Head: m.UUID, Name: m.UUID, Mode: rebuild.ModeRW, Since: m.since})
	}
	return listed, nil
}

// Peer names the mirror to the host of a new member, which lets it connect.
func (v *ownVolume) Peer(context.Context) (rebuild.Peer, error) { return "own volume", nil }

// Connect connects to a new member. Here there is no network.
func (v *ownVolume) Connect(context.Context, rebuild.Run, rebuild.Address) error { return nil }

// Join makes the head at the way a member, in a freeze.
func (v *ownVolume) Join(_ context.Context, _ rebuild.Run, at rebuild.Address) (rebuild.Member, error) {
	head, ok := v.fabric.Shown(at)
	if !ok {
		return rebuild.Member{}, fmt.Errorf("nothing is shown at %s: %w", at, rebuild.ErrUnavailable)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.find(head.UUID) >= 0 {
		return rebuild.Member{}, fmt.Errorf("join %s: %w", at, rebuild.ErrExists)
	}
	since := time.Now()
	v.members = append(v.members, ownMember{head, since})
	return rebuild.Member{Head: head.UUID, Name: head.UUID, Mode: rebuild.ModeRW, Since: since}, nil
}

func (v *ownVolume) find(head string) int {
	return slices.IndexFunc(v.members, func(m ownMember) bool { return m.UUID == head })
}

// Leave removes a member, but not the last one.
func (v *ownVolume) Leave(_ context.Context, head string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	at := v.find(head)
	switch {
	case at < 0:
		return nil
	case len(v.members) == 1:
		return fmt.Errorf("%s is the last member: %w", head, rebuild.ErrInvalid)
	}
	v.members = slices.Delete(slices.Clone(v.members), at, at+1)
	return nil
}

// Release ends connections of a run. Here there are none.
func (v *ownVolume) Release(context.Context, rebuild.Run) error { return nil }

// Freeze waits for the clients' writes in flight, and stops them until work has returned, or
// the limit is over.
func (v *ownVolume) Freeze(ctx context.Context, limit time.Duration, work func(context.Context) error) error {
	v.frozen.Lock()
	thaw := sync.OnceFunc(v.frozen.Unlock)
	defer thaw()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stop := context.AfterFunc(ctx, thaw)
	err := work(ctx)
	if !stop() {
		err = errors.Join(rebuild.ErrThawed, err)
	}
	return err
}

// Thaw ends a freeze of a process that died. This one ends with its process.
func (v *ownVolume) Thaw(context.Context) error { return nil }

// A volume of one's own kind gets a third replica while a client goes on writing.
func ExampleEngine_RebuildOnline() {
	ctx := context.Background()
	volume := &ownVolume{fabric: memhost.NewFabric()}
	var sites []rebuild.Site
	for i, name := range []string{"vol-1-r-0a1b2c3d", "vol-1-r-4e5f6a7b", "vol-1-r-8c9d0e1f"} {
		host := volume.fabric.NewHost(memhost.Config{Name: fmt.Sprintf("disk-%d", i+1), ClusterSize: 4096})
		sites = append(sites, rebuild.Site{Host: host, Replica: name})
		if i == 2 {
			break // the third one is the destination
		}
		head, err := host.Create(ctx, name, 64*4096)
		if err != nil {
			fmt.Println(err)
			return
		}
		volume.members = append(volume.members, ownMember{memhost.Head{Host: host, UUID: head}, time.Now()})
	}

	stop, written := make(chan struct{}), make(chan error)
	go func() {
		for i := uint64(0); ; i++ {
			select {
			case <-stop:
				written <- nil
				return
			default:
			}
			if err := volume.write(fmt.Appendf(nil, "write %d", i), i%64*4096); err != nil {
				written <- err
				return
			}
		}
	}()
	report, err := rebuild.New().RebuildOnline(ctx, rebuild.OnlineRequest{
		Request: rebuild.Request{Source: sites[0], MoreSources: sites[1:2], Destination: sites[2], Base: rebuild.NoBase()},
		Mirror:  volume, Freezer: volume, FreezeLimit: time.Minute,
	})
	fmt.Println(report.Outcome, err)
	fmt.Println("freezes:", report.Online.Freezes)
	for _, m := range report.Online.Members {
		fmt.Println("member:", m.Mode)
	}
	close(stop)
	fmt.Println("the client's error:", <-written)
	data := make(map[string]bool)
	for _, m := range volume.members {
		sum, _ := m.Host.ViewSHA256(m.UUID)
		data[sum] = true
	}
	fmt.Println("members differ:", len(data) != 1)
	// Output:
	// complete <nil>
	// freezes: 2
	// member: RW
	// member: RW
	// member: RW
	// the client's error: <nil>
	// members differ: false
}
