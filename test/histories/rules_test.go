package histories

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rootgraft/rebuild/internal/domain"
)

// check looks at every store, by the names on it and what is read, and asks
// nothing of the engine.
func (w *world) check() {
	for _, s := range w.sites {
		w.checkForeigners(s)
		w.checkImages(s)
		w.account(s)
		if opened := s.opened(); len(opened) > 0 && !s.untidy {
			fail("%s: nothing goes on, and yet %v is open", s.name, opened)
		}
	}
	for _, v := range w.volumes {
		for _, r := range v.replicas {
			if r.state == lost {
				continue
			}
			if wrong := w.whatIsWrongWith(r); wrong != "" {
				fail("%s, which is %s: %s", r, r.state, wrong)
			}
			if left := w.inFlight(r); left != "" && !r.untidy {
				fail("%s, which is %s: %s is in flight", r, r.state, left)
			}
		}
	}
}

// checkForeigners: what is somebody else's is as it was (rule 5).
func (w *world) checkForeigners(s *site) {
	now := s.photograph(func(string) bool { return true })
	for uuid, was := range s.foreign {
		if is, ok := now[uuid]; !ok || !is.equal(was) {
			fail("%s: what is somebody else's has changed: %v instead of %v", s.name, is, was)
		}
	}
}

// checkImages: an image stays what it is, and hangs on nothing.
func (w *world) checkImages(s *site) {
	for _, i := range w.images {
		l, ok := s.find(s.imageName(i))
		switch {
		case ok != i.on[s]:
			fail("%s: image %s is there: %v, expected %v", s.name, i.name, ok, i.on[s])
		case !ok:
		case !l.ReadOnly || l.Parent != "":
			fail("%s: image %s is not a snapshot without a parent: %+v", s.name, i.name, l)
		case !slices.Equal(read(s.host, l), i.whole()):
			fail("%s: image %s reads %v instead of %v", s.name, i.name, read(s.host, l), i.whole())
		}
	}
}

// whole is the image filled up to a whole cluster.
func (i *image) whole() view { return i.view.long(i.view.clusters() * perCluster) }

// account: everything on a store is somebody's.
func (w *world) account(s *site) {
	for _, l := range s.list().Lvols {
		if _, foreign := s.foreign[l.UUID]; foreign || w.isKnown(s, l) {
			continue
		}
		if isImageInFlight(l.Name) && s.untidy {
			continue
		}
		fail("%s: lvol %s is nobody's", s.name, l.Name)
	}
}

func (w *world) isKnown(s *site, l domain.Lvol) bool {
	for _, i := range w.images {
		if l.Name == s.imageName(i) {
			return true
		}
	}
	for _, v := range w.volumes {
		for _, r := range v.replicas {
			if r.at == s && r.isOf(l.Name) {
				return true
			}
		}
	}
	return false
}

// inFlight is what is in flight for a replica, or was left, in words.
func (w *world) inFlight(r *replica) string {
	var names []string
	for _, l := range r.at.list().Lvols {
		if r.fills(l.Name) || l.Name == r.name+"-rebuilding" {
			names = append(names, l.Name)
		}
	}
	return strings.Join(names, ", ")
}

// whatIsWrongWith compares a replica that serves with the model: a head, the
// snapshots that it should have and no other, each with what is read through it,
// and at the root of all the volume's image (rules 1, 2 and the head's).
func (w *world) whatIsWrongWith(r *replica) string {
	store := r.at.list()
	byUUID := make(map[string]domain.Lvol)
	found := make(map[string]domain.Lvol)
	var head *domain.Lvol
	for _, l := range store.Lvols {
		byUUID[l.UUID] = l
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
	root := ""
	if r.of.image != nil && r.state == whole {
		root = r.at.imageName(r.of.image)
	}
	stands := func(l domain.Lvol) string {
		for l.Parent != "" {
			l = byUUID[l.Parent]
			if !strings.HasPrefix(l.Name, r.prefix()) {
				break
			}
		}
		switch {
		case strings.HasPrefix(l.Name, r.prefix()) || l.Name == r.name:
			return ""
		default:
			return l.Name
		}
	}
	for name := range r.snapshots {
		l, ok := found[name]
		switch {
		case !ok:
			return "it has no snapshot " + name
		case !l.ReadOnly:
			return "snapshot " + name + " is writable"
		case stands(l) != root:
			return fmt.Sprintf("snapshot %s stands on %q instead of %q", name, stands(l), root)
		}
		if is, want := read(r.at.host, l), r.of.snapshots[name]; r.state == whole && !slices.Equal(is, want) {
			return fmt.Sprintf("snapshot %s reads %v instead of %v", name, is, want)
		}
	}
	switch {
	case head.ReadOnly:
		return "its head is a snapshot"
	case head.Size != r.of.size():
		return fmt.Sprintf("its head has %d bytes instead of %d", head.Size, r.of.size())
	case stands(*head) != root:
		return fmt.Sprintf("its head stands on %q instead of %q", stands(*head), root)
	case head.Record != "" && head.Record != r.of.imageSaid().Record():
		return fmt.Sprintf("its head records %q", head.Record)
	}
	if is := read(r.at.host, *head); r.state == whole && !slices.Equal(is, r.of.head) {
		return fmt.Sprintf("its head reads %v instead of %v", is, r.of.head)
	}
	return ""
}
