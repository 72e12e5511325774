package scenario

import (
	"slices"

	"github.com/rootgraft/rebuild/internal/domain"
)

// The replicas of the source volume of a linked clone are its name and one of these.
const (
	baseOnSource      = "-r-0000000a"
	baseOnDestination = "-r-0000000b"
)

const expectedBaseState = "present, no-entry-point, no-snapshot, absent, or a mapping with the field snapshots"

// checkBase checks the fields of the base that are the same on both hosts.
func (s *Scenario) checkBase() error {
	b := s.Base
	switch {
	case b == nil && s.Image == nil && s.Source.Hurt:
		return s.errorAt("source.hurt", "expected false, since there is no backingImage or base to lose")
	case b == nil:
		return nil
	case s.Image != nil:
		return s.errorAt("base", "expected either backingImage or base, got both")
	}
	if err := checkName(b.Volume, domain.CheckReplicaName); err != nil {
		return s.errorAt("base.volume", "%v", err)
	}
	if slices.Contains([]string{s.Volume.Name, volumeOf(s.sourceReplica()), volumeOf(s.destinationReplica())}, b.Volume) {
		return s.errorAt("base.volume", "expected another volume than the clone itself, got %s", quote(b.Volume))
	}
	if !slices.ContainsFunc(b.Snapshots, func(snapshot Snapshot) bool { return snapshot.Name == b.Snapshot }) {
		return s.errorAt("base.snapshot", "expected the name of a snapshot of the base, got %s", quote(b.Snapshot))
	}
	if b.OtherTree != nil && b.Destination != "" {
		return s.errorAt("base.destination", "expected either a state or other snapshots, got both")
	}
	switch b.Destination {
	case "", BasePresent, BaseNoEntryPoint, BaseNoSnapshot, BaseAbsent:
		return nil
	}
	return s.errorAt("base.destination", "expected %s, got %s", expectedBaseState, quote(string(b.Destination)))
}

// volumeOf is the volume that a replica belongs to by its name.
func volumeOf(replica string) string {
	if volume, ok := domain.VolumeOfReplica(replica); ok {
		return volume
	}
	return replica
}

// addSourceBase adds the source volume's replica and its entry point to the source's host.
func (s *Scenario) addSourceBase(l *layout) error {
	if s.Base == nil {
		return nil
	}
	t := treeOf("base.snapshots", s.Base.Snapshots)
	if err := s.checkAncestor(t); err != nil {
		return err
	}
	if err := s.addSourceVolume(l, s.Base.Volume+baseOnSource, t); err != nil {
		return err
	}
	return s.addEntryPoint(l)
}

// addDestinationBase adds what the destination's host has of the source volume. Its lvols
// may be parents there, by their full names.
func (s *Scenario) addDestinationBase(l *layout) error {
	if s.Base == nil || s.Base.Destination == BaseAbsent {
		return nil
	}
	t := treeOf("base.snapshots", s.Base.Snapshots)
	switch {
	case s.Base.OtherTree != nil:
		t = treeOf("base.destination.snapshots", s.Base.OtherTree)
		if err := s.checkAncestor(t); err != nil {
			return err
		}
	case s.Base.Destination == BaseNoSnapshot:
		t = t.without(s.Base.Snapshot)
	}
	if err := s.addSourceVolume(l, s.Base.Volume+baseOnDestination, t); err != nil {
		return err
	}
	if s.Base.Destination != BaseNoEntryPoint {
		if err := s.addEntryPoint(l); err != nil {
			return err
		}
	}
	for at, v := range l.lvols {
		l.others[v.name] = at
	}
	return nil
}

// addSourceVolume adds the image and a replica of the source volume.
func (s *Scenario) addSourceVolume(l *layout, replica string, t tree) error {
	l.begin(replica, "the name of a snapshot of the base")
	if err := s.addImage(l, s.Base.Image, "base.backingImage"); err != nil {
		return err
	}
	if err := s.addTree(l, t); err != nil {
		return err
	}
	if err := s.setTreeParents(l, t); err != nil {
		return err
	}
	head, err := l.add(s, lvol{
		field:  "base",
		label:  replica,
		name:   replica,
		size:   roundUp(s.Volume.Size, l.clusterSize),
		record: imageBase(s.Base.Image).Record(),
	}, "base.volume")
	if err != nil {
		return err
	}
	if err := l.setParent(s, head, t.headParent, l.base); err != nil {
		return err
	}
	l.base = noLvol // until it has an entry point
	return s.checkGrowth(l)
}

// addEntryPoint adds the entry point that is the linked clone's parent, if the snapshot is on
// the host.
func (s *Scenario) addEntryPoint(l *layout) (err error) {
	snapshot, ok := l.snapshots[s.Base.Snapshot]
	if !ok {
		return nil
	}
	name := domain.EntryPointLvolName(l.replica, s.Base.Snapshot)
	l.base, err = l.add(s, lvol{
		field:    "base.snapshot",
		label:    name,
		name:     name,
		parent:   snapshot,
		size:     l.lvols[snapshot].size,
		readOnly: true,
	}, "base.snapshot")
	return err
}
