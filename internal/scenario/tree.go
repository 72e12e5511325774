package scenario

import (
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// tree is a list of snapshots of a healthy replica, in which the last is the head's parent.
type tree struct {
	snapshots  []listed
	headParent string // a snapshot; "": there is none
}

// listed is a snapshot and its place in the file.
type listed struct {
	Snapshot
	field string
	place int
}

// treeOf is the tree of the snapshots that a field lists.
func treeOf(field string, snapshots []Snapshot) tree {
	t := tree{snapshots: make([]listed, len(snapshots))}
	for i, snapshot := range snapshots {
		t.snapshots[i] = listed{snapshot, fmt.Sprintf("%s[%d]", field, i), i}
		t.headParent = snapshot.Name
	}
	return t
}

// without is the tree without the snapshot of that name. Its children get its
// parent.
func (t tree) without(name string) tree {
	at := slices.IndexFunc(t.snapshots, func(s listed) bool { return s.Name == name })
	if at < 0 {
		return t
	}
	parent := t.snapshots[at].Parent
	t.snapshots = slices.Delete(slices.Clone(t.snapshots), at, at+1)
	for i := range t.snapshots {
		if t.snapshots[i].Parent == name {
			t.snapshots[i].Parent = parent
		}
	}
	if t.headParent == name {
		t.headParent = parent
	}
	return t
}

// addTree adds the snapshots of a tree to the replica that was begun last.
func (s *Scenario) addTree(l *layout, t tree) error {
	for _, snapshot := range t.snapshots {
		if err := s.addSnapshot(l, snapshot); err != nil {
			return err
		}
	}
	return nil
}

func (s *Scenario) addSnapshot(l *layout, snapshot listed) error {
	if err := checkSnapshotName(snapshot.Name); err != nil {
		return s.errorAt(snapshot.field+".name", "%v", err)
	}
	size := snapshot.Size
	if size == 0 {
		size = s.Volume.Size
	}
	if err := s.checkSizeInVolume(snapshot.field+".size", size); err != nil {
		return err
	}
	attributes := domain.Attributes{CreatedAt: createdAt(snapshot.place), UserCreated: true}
	var err error
	l.snapshots[snapshot.Name], err = l.add(s, lvol{
		field:    snapshot.field,
		label:    snapshot.Name,
		name:     domain.SnapshotLvolName(l.replica, snapshot.Name),
		size:     roundUp(size, l.clusterSize),
		readOnly: true,
		seal:     ports.SealRecord{Attributes: snapshot.attributes(attributes)},
		content:  content{writes: snapshot.Writes},
	}, snapshot.field+".name")
	return err
}

// checkAncestor refuses a second snapshot without a parent.
func (s *Scenario) checkAncestor(t tree) error {
	ancestor := ""
	for _, snapshot := range t.snapshots {
		switch {
		case snapshot.Parent != "" && snapshot.Parent != NoParent:
		case ancestor != "":
			return s.errorAt(snapshot.field+".parent", "expected the name of a snapshot, since %s is already the ancestor", ancestor)
		default:
			ancestor = snapshot.field
		}
	}
	return nil
}

// setTreeParents sets the parents of the snapshots. That of the ancestor is the base.
func (s *Scenario) setTreeParents(l *layout, t tree) error {
	for _, snapshot := range t.snapshots {
		parent := snapshot.Parent
		if parent == NoParent {
			parent = ""
		}
		if err := l.setParent(s, l.snapshots[snapshot.Name], parent, l.base); err != nil {
			return err
		}
	}
	return nil
}
