package scenario

import (
	"context"
	"slices"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/domain"
)

// The stores of every scenario have the same UUIDs, so that runs of a file print the same.
// They are part of the names of images, so a file may need them.
const (
	SourceStoreUUID      = "d15c0001-5ce0-4a1d-8000-000000000001"
	DestinationStoreUUID = "d15c0002-5ce0-4a1d-8000-000000000002"
)

const (
	defaultParallel = 4
	defaultRuns     = 1
)

// World is a scenario on two in-memory hosts, with the options of the rebuild.
type World struct {
	Fabric              *memory.Fabric
	Source, Destination *memory.Host

	SourceReplica, DestinationReplica string

	Base domain.Base // of the volume; always known

	Fast             bool
	Parallel         int // copies at a time
	AcceptHurtSource bool
	Overwrite        bool
	Runs             int
	Faults           []Fault // for InjectFaults; a member that dies is the last

	Live *Live // nil: nobody uses the volume meanwhile

	members []*memory.Host // the source is the first
}

// Build creates the scenario on two new hosts. It can be called repeatedly: the worlds are
// equal, including UUIDs, and share nothing. Every error caused by the scenario is an
// *Error.
func (s *Scenario) Build() (*World, error) {
	both, err := s.layOut()
	if err != nil {
		return nil, err
	}
	w := &World{
		Fabric:             memory.NewFabric(),
		SourceReplica:      both.source.replica,
		DestinationReplica: both.destination.replica,
		Base:               both.base,
		Fast:               s.Options.Fast == nil || *s.Options.Fast,
		Parallel:           s.Options.Parallel,
		AcceptHurtSource:   s.Options.AcceptHurtSource,
		Overwrite:          s.Options.Overwrite,
		Runs:               s.Runs,
		Faults:             s.Faults,
	}
	if w.Parallel == 0 {
		w.Parallel = defaultParallel
	}
	if w.Runs == 0 {
		w.Runs = defaultRuns
	}
	whole := append([]*layout{both.source}, both.members...)
	w.createHosts(s, both)
	ctx := context.Background()
	if err := w.buildMembers(ctx, s, whole); err != nil {
		return nil, err
	}
	if err := newBuilder(s, w.Destination, w.Source, both.destination.clusterSize).build(ctx, both.destination); err != nil {
		return nil, err
	}
	for i, l := range whole {
		if err := s.hurtSource(ctx, w.members[i], l); err != nil {
			return nil, err
		}
	}
	if s.Online == nil {
		return w, nil
	}
	if s.Online.Dies != nil {
		w.Faults = append(slices.Clone(s.Faults), s.Online.Dies.fault())
	}
	if err := w.goLive(s, whole); err != nil {
		return nil, err
	}
	return w, nil
}

// createHosts creates the source's host, the destination's, and those of the other members.
func (w *World) createHosts(s *Scenario, both *layouts) {
	for i, at := range s.seats() {
		w.members = append(w.members, w.Fabric.NewHost(memory.Config{
			Name: at.lvstore, UUID: at.uuid, ClusterSize: both.source.clusterSize, Flavour: memory.Fork, Seed: at.seed,
		}))
		if i == 0 {
			w.Destination = w.Fabric.NewHost(s.destinationConfig(both.destination))
		}
	}
	w.Source = w.members[0]
}

// buildMembers builds the source and the other members.
func (w *World) buildMembers(ctx context.Context, s *Scenario, whole []*layout) error {
	for i, host := range w.members {
		if err := newBuilder(s, host, host, whole[i].clusterSize).build(ctx, whole[i]); err != nil {
			return err
		}
	}
	return nil
}

// hurtSource detaches the replica from its base. It comes last: writes before it read the
// bytes of the base.
func (s *Scenario) hurtSource(ctx context.Context, host *memory.Host, l *layout) error {
	if !s.Source.Hurt {
		return nil
	}
	for _, v := range l.lvols {
		if v.parent != l.base || v.parent == noLvol {
			continue
		}
		if err := host.Graft(ctx, v.uuid, ""); err != nil {
			return s.errorAt("source.hurt", "cannot be built: %v", err)
		}
	}
	return nil
}
