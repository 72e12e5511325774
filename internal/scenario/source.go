package scenario

import (
	"github.com/rootgraft/rebuild/internal/domain"
)

// layOutSource lays out the host of a healthy replica: the base, and the replica.
func (s *Scenario) layOutSource(base domain.Base, at seat) (*layout, error) {
	l := newLayout(at.uuid, s.clusterSize(), forkNameLimit)
	if err := s.addImage(l, s.Image, "backingImage"); err != nil {
		return nil, err
	}
	if err := s.addSourceBase(l); err != nil {
		return nil, err
	}
	l.begin(at.replica, "the name of a snapshot of the source")
	t := treeOf("source.snapshots", s.Source.Snapshots)
	if err := s.addTree(l, t); err != nil {
		return nil, err
	}
	head := s.Source.Head
	if head == nil {
		head = &Head{}
	}
	if err := s.addHead(l, "source.head", *head, base); err != nil {
		return nil, err
	}
	if err := s.setSourceParents(l, t, head.Parent); err != nil {
		return nil, err
	}
	if err := l.sort(s); err != nil {
		return nil, err
	}
	return l, s.checkGrowth(l)
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
func (s *Scenario) addHead(l *layout, field string, head Head, base domain.Base) (err error) {
	l.head, err = l.add(s, lvol{
		field:   field,
		label:   l.replica,
		name:    l.replica,
		size:    s.Volume.Size,
		record:  base.Record(),
		content: content{writes: head.Writes},
	}, "volume.name")
	return err
}

// setSourceParents sets the parent of every lvol of the healthy replica.
func (s *Scenario) setSourceParents(l *layout, t tree, ofHead string) error {
	if err := s.checkAncestor(t); err != nil {
		return err
	}
	if err := s.setTreeParents(l, t); err != nil {
		return err
	}
	switch {
	case ofHead == NoParent && len(t.snapshots) > 0:
		return s.errorAt("source.head.parent", "expected the name of a snapshot, since the source has some")
	case ofHead == "" || ofHead == NoParent:
		ofHead = t.headParent
	}
	return l.setParent(s, l.head, ofHead, l.base)
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
