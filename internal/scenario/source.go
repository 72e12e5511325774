package scenario

import (
	"fmt"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// layOutSource lays out the healthy replica: one tree, in which no lvol is smaller than
// its parent.
func (s *Scenario) layOutSource(image domain.Base) (*layout, error) {
	l := newLayout(s.sourceReplica(), "the name of a snapshot of the source", s.clusterSize(), forkNameLimit)
	if err := s.addSourceImage(l); err != nil {
		return nil, err
	}
	for i, snapshot := range s.Source.Snapshots {
		if err := s.addSnapshot(l, i, snapshot); err != nil {
			return nil, err
		}
	}
	head := s.Source.Head
	if head == nil {
		head = &Head{}
	}
	if err := s.addHead(l, "source.head", *head, image); err != nil {
		return nil, err
	}
	if err := s.setSourceParents(l, *head); err != nil {
		return nil, err
	}
	if err := l.sort(s); err != nil {
		return nil, err
	}
	return l, s.checkGrowth(l)
}

func (s *Scenario) addSnapshot(l *layout, place int, snapshot Snapshot) error {
	field := fmt.Sprintf("source.snapshots[%d]", place)
	if err := checkSnapshotName(snapshot.Name); err != nil {
		return s.errorAt(field+".name", "%v", err)
	}
	size := snapshot.Size
	if size == 0 {
		size = s.Volume.Size
	}
	if err := checkSize(size, l.clusterSize, "cluster size"); err != nil {
		return s.errorAt(field+".size", "%v", err)
	}
	if size > s.Volume.Size {
		return s.errorAt(field+".size", "expected at most the volume's size %s, got %s", formatSize(s.Volume.Size), formatSize(size))
	}
	attributes := domain.Attributes{CreatedAt: createdAt(place), UserCreated: true}
	var err error
	l.snapshots[snapshot.Name], err = l.add(s, lvol{
		field:    field,
		label:    snapshot.Name,
		name:     domain.SnapshotLvolName(l.replica, snapshot.Name),
		size:     size,
		readOnly: true,
		seal:     ports.SealRecord{Attributes: snapshot.attributes(attributes)},
		content:  content{writes: snapshot.Writes},
	}, field+".name")
	return err
}

// attributes are the given attributes of the snapshot, and defaults for the others.
func (snapshot Snapshot) attributes(defaults domain.Attributes) domain.Attributes {
	if !snapshot.CreatedAt.IsZero() {
		defaults.CreatedAt = snapshot.CreatedAt.UTC()
	}
	if snapshot.UserCreated != nil {
		defaults.UserCreated = *snapshot.UserCreated
	}
	return defaults
}

// addHead adds a head of either replica.
func (s *Scenario) addHead(l *layout, field string, head Head, image domain.Base) (err error) {
	l.head, err = l.add(s, lvol{
		field:   field,
		label:   l.replica,
		name:    l.replica,
		size:    s.Volume.Size,
		record:  image.Record(),
		content: content{writes: head.Writes},
	}, "volume.name")
	return err
}

// setSourceParents sets the parent of every lvol.
func (s *Scenario) setSourceParents(l *layout, head Head) error {
	ancestor := noLvol
	for _, snapshot := range s.Source.Snapshots {
		at := l.snapshots[snapshot.Name]
		if snapshot.Parent == "" || snapshot.Parent == NoParent {
			if ancestor != noLvol {
				return s.errorAt(l.lvols[at].field+".parent", "expected the name of a snapshot, since %s is already the ancestor", l.lvols[ancestor].field)
			}
			ancestor, snapshot.Parent = at, ""
		}
		if err := l.setParent(s, at, snapshot.Parent, l.image); err != nil {
			return err
		}
	}
	last := len(s.Source.Snapshots) - 1
	switch {
	case last >= 0 && head.Parent == NoParent:
		return s.errorAt("source.head.parent", "expected the name of a snapshot, since the source has some")
	case last >= 0 && head.Parent == "":
		head.Parent = s.Source.Snapshots[last].Name
	case head.Parent == NoParent:
		head.Parent = ""
	}
	return l.setParent(s, l.head, head.Parent, l.image)
}

// checkGrowth refuses an lvol that is smaller than its parent: no healthy replica has one.
func (s *Scenario) checkGrowth(l *layout) error {
	for _, v := range l.lvols {
		if v.parent == noLvol || v.size >= l.lvols[v.parent].size {
			continue
		}
		parent := l.lvols[v.parent]
		return s.errorAt(v.field+".size", "expected at least the size of its parent %s, %s, got %s", quote(parent.label), formatSize(parent.size), formatSize(v.size))
	}
	return nil
}
