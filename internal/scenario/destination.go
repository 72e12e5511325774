package scenario

import (
	"fmt"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// layOutDestination lays out the leftovers of the lost replica and the other lvols: a
// forest of any shape.
func (s *Scenario) layOutDestination(base domain.Base, source *layout) (*layout, error) {
	l, err := s.newDestination()
	if err != nil {
		return nil, err
	}
	if err := s.addDestinationImage(l, source); err != nil {
		return nil, err
	}
	if err := s.addDestinationBase(l); err != nil {
		return nil, err
	}
	l.begin(s.destinationReplica(), "the name of a snapshot or an lvol of the destination, or "+NoParent)
	for i, leftover := range s.Destination.Snapshots {
		if err := s.addLeftover(l, source, i, leftover); err != nil {
			return nil, err
		}
	}
	if head := s.Destination.Head; head != nil {
		if err := s.addHead(l, "destination.head", *head, base); err != nil {
			return nil, err
		}
	}
	for i, other := range s.Destination.Lvols {
		if err := s.addOther(l, i, other); err != nil {
			return nil, err
		}
	}
	if err := s.setDestinationParents(l, source); err != nil {
		return nil, err
	}
	if err := l.sort(s); err != nil {
		return nil, err
	}
	return l, nil
}

func (s *Scenario) newDestination() (*layout, error) {
	l := newLayout(DestinationStoreUUID, s.clusterSize(), forkNameLimit)
	if s.Destination.ClusterSize != 0 {
		l.clusterSize = s.Destination.ClusterSize
	}
	if s.Destination.Upstream {
		l.nameLimit = upstreamNameLimit
	}
	if err := checkClusterSize(l.clusterSize); err != nil {
		return nil, s.errorAt("destination.clusterSize", "%v", err)
	}
	if free, most := s.Destination.FreeClusters, plenty(l.clusterSize); free != nil && *free > most {
		return nil, s.errorAt("destination.freeClusters", "expected %s, got %d", numberBetween(0, most), *free)
	}
	return l, nil
}

func (s *Scenario) addLeftover(l, source *layout, place int, leftover Leftover) error {
	field := fmt.Sprintf("destination.snapshots[%d]", place)
	if err := checkSnapshotName(leftover.Name); err != nil {
		return s.errorAt(field+".name", "%v", err)
	}
	v := lvol{
		field:    field,
		label:    leftover.Name,
		name:     domain.SnapshotLvolName(l.replica, leftover.Name),
		size:     s.Volume.Size,
		readOnly: true,
		content:  content{writes: leftover.Writes},
	}
	attributes := domain.Attributes{CreatedAt: createdAt(len(s.Source.Snapshots) + place), UserCreated: true}
	at, known := source.snapshots[leftover.Name]
	if known {
		attributes.CreatedAt = source.lvols[at].seal.Attributes.CreatedAt
	}
	if leftover.LikeSource {
		if !known {
			return s.errorAt(field+".like", "expected the name of a snapshot of the source, got %s", quote(leftover.Name))
		}
		original := &source.lvols[at]
		v.size, attributes = original.size, original.seal.Attributes
		if leftover.Writes == nil {
			v.like = original
		}
	}
	if leftover.Size != 0 {
		v.size = leftover.Size
	}
	if err := checkSize(v.size, l.clusterSize, "destination's cluster size"); err != nil {
		return s.errorAt(field+".size", "%v", err)
	}
	v.seal = ports.SealRecord{Attributes: leftover.attributes(attributes)}
	var err error
	l.snapshots[leftover.Name], err = l.add(s, v, field+".name")
	return err
}

func (s *Scenario) addOther(l *layout, place int, other Lvol) error {
	field := fmt.Sprintf("destination.lvols[%d]", place)
	if err := checkLvolName(other.Name); err != nil {
		return s.errorAt(field+".name", "%v", err)
	}
	size := other.Size
	if size == 0 {
		size = s.Volume.Size
	}
	if err := checkSize(size, l.clusterSize, "destination's cluster size"); err != nil {
		return s.errorAt(field+".size", "%v", err)
	}
	made := createdAt(len(s.Source.Snapshots) + len(s.Destination.Snapshots) + place)
	var err error
	l.others[other.Name], err = l.add(s, lvol{
		field:    field,
		label:    other.Name,
		name:     other.Name,
		size:     size,
		readOnly: other.Snapshot,
		seal:     ports.SealRecord{Attributes: domain.Attributes{CreatedAt: made, UserCreated: true}},
		content:  content{writes: other.Writes},
	}, field+".name")
	return err
}

// setDestinationParents sets the parent of every lvol.
func (s *Scenario) setDestinationParents(l, source *layout) error {
	for _, leftover := range s.Destination.Snapshots {
		given := leftover.Parent
		if given == "" && leftover.LikeSource {
			given = l.parentLike(source, leftover.Name)
		}
		if err := l.setParent(s, l.snapshots[leftover.Name], given, l.base); err != nil {
			return err
		}
	}
	for _, other := range s.Destination.Lvols {
		if err := l.setParent(s, l.others[other.Name], other.Parent, noLvol); err != nil {
			return err
		}
	}
	head := s.Destination.Head
	if head == nil {
		return nil
	}
	given := head.Parent
	if last := len(s.Destination.Snapshots) - 1; given == "" && last >= 0 {
		given = s.Destination.Snapshots[last].Name
	}
	return l.setParent(s, l.head, given, l.base)
}

// parentLike is the name of the parent of the source's snapshot, if it is on this host,
// too.
func (l *layout) parentLike(source *layout, snapshot string) string {
	parent := source.lvols[source.snapshots[snapshot]].parent
	if parent == noLvol {
		return ""
	}
	name := source.lvols[parent].label
	if _, here := l.snapshots[name]; !here || parent == source.base {
		return ""
	}
	return name
}
