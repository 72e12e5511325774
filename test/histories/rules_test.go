package histories

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rootgraft/rebuild/internal/domain"
)

// check checks every store by its names and bytes, without the engine.
func (w *world) check() {
	for _, s := range w.targets {
		w.checkForeigners(s)
		w.checkImages(s)
		w.checkEntryPoints(s)
		w.checkOwners(s)
		if opened := s.opened(); len(opened) > 0 && !s.untidy {
			fail("%s: %v is open although nothing is running", s.name, opened)
		}
	}
	for _, v := range w.volumes {
		for _, r := range v.replicas {
			if r.state == lost {
				continue
			}
			if wrong := w.violationOf(r); wrong != "" {
				fail("%s, which is %s: %s", r, r.state, wrong)
			}
			if left := w.inFlight(r); left != "" && !r.untidy {
				fail("%s, which is %s: %s is in flight", r, r.state, left)
			}
		}
	}
}

// checkForeigners checks that foreign lvols are unchanged (rule 5).
func (w *world) checkForeigners(s *target) {
	now := s.capture(func(string) bool { return true })
	for uuid, was := range s.foreign {
		if is, ok := now[uuid]; !ok || !is.equal(was) {
			fail("%s: a foreign lvol has changed: %v instead of %v", s.name, is, was)
		}
	}
}

// checkImages checks that images are unchanged and have no parent.
func (w *world) checkImages(s *target) {
	for _, i := range w.images {
		l, ok := s.find(s.imageName(i))
		switch {
		case ok != i.on[s]:
			fail("%s: image %s is there: %v, expected %v", s.name, i.name, ok, i.on[s])
		case !ok:
		case !l.ReadOnly || l.Parent != "":
			fail("%s: image %s is not a snapshot without a parent: %+v", s.name, i.name, l)
		case !slices.Equal(read(s.host, l), i.padded()):
			fail("%s: image %s reads %v instead of %v", s.name, i.name, read(s.host, l), i.padded())
		}
	}
}

// padded is the image padded to a whole cluster.
func (i *image) padded() view { return i.view.resized(i.view.clusters() * perCluster) }

// checkOwners checks that every lvol on a store has an owner.
func (w *world) checkOwners(s *target) {
	for _, l := range s.list().Lvols {
		if _, foreign := s.foreign[l.UUID]; foreign || w.isKnown(s, l) {
			continue
		}
		if isImageInFlight(l.Name) && s.untidy {
			continue
		}
		fail("%s: lvol %s has no owner", s.name, l.Name)
	}
}

func (w *world) isKnown(s *target, l domain.Lvol) bool {
	for _, i := range w.images {
		if l.Name == s.imageName(i) {
			return true
		}
	}
	for _, v := range w.volumes {
		for _, r := range v.replicas {
			if r.at == s && (r.isOf(l.Name) || strings.HasPrefix(l.Name, r.name+entryPointInfix)) {
				return true
			}
		}
	}
	return false
}

// inFlight lists the in-flight lvols of a replica, including leftovers.
func (w *world) inFlight(r *replica) string {
	var names []string
	for _, l := range r.at.list().Lvols {
		if r.fills(l.Name) || l.Name == r.name+"-rebuilding" {
			names = append(names, l.Name)
		}
	}
	return strings.Join(names, ", ")
}

// violationOf compares a serving replica with the model: a head, exactly the expected
// snapshots, each with the expected bytes, and the volume's base as the root (rules 1, 2
// and that of the head).
func (w *world) violationOf(r *replica) string {
	store := r.at.list()
	found := make(map[string]domain.Lvol)
	var head *domain.Lvol
	for _, l := range store.Lvols {
		if name, ok := strings.CutPrefix(l.Name, r.prefix()); ok {
			found[name] = l
		}
		if l.Name == r.name {
			head = &l
		}
	}
	if head == nil {
		return "it has no head"
	}
	for name := range found {
		if !r.snapshots[name] {
			return "it has a snapshot " + name + " that it should not have"
		}
	}
	root := r.root
	if r.state == complete {
		root = r.rightRoot()
	}
	readsRight := r.readsRight()
	rootOf := func(l domain.Lvol) string { return r.at.rootOf(r, l) }
	for name := range r.snapshots {
		l, ok := found[name]
		switch {
		case !ok:
			return "it has no snapshot " + name
		case !l.ReadOnly:
			return "snapshot " + name + " is writable"
		case rootOf(l) != root:
			return fmt.Sprintf("the root of snapshot %s is %q instead of %q", name, rootOf(l), root)
		}
		if is, want := read(r.at.host, l), r.of.snapshots[name]; readsRight && !slices.Equal(is, want) {
			return fmt.Sprintf("snapshot %s reads %v instead of %v", name, is, want)
		}
	}
	switch {
	case head.ReadOnly:
		return "its head is a snapshot"
	case head.Size != r.of.size():
		return fmt.Sprintf("its head has %d bytes instead of %d", head.Size, r.of.size())
	case rootOf(*head) != root:
		return fmt.Sprintf("the root of its head is %q instead of %q", rootOf(*head), root)
	case head.Record != "" && head.Record != r.of.base().Record():
		return fmt.Sprintf("its head records %q", head.Record)
	}
	if is := read(r.at.host, *head); readsRight && !slices.Equal(is, r.of.head) {
		return fmt.Sprintf("its head reads %v instead of %v", is, r.of.head)
	}
	return ""
}
