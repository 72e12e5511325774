package domain

import (
	"slices"
	"sort"
	"strings"
)

// Survey assigns every lvol on a store to a replica, an image or the entry points.
type Survey struct {
	Store    Listing
	Replicas []Replica      // by name
	Unclear  []Unclear      // by name
	Images   []BackingImage // finished ones, by name
	Filling  []Lvol         // unfinished images, being filled or left, by name
	Others   []Lvol         // all other lvols, by name

	EntryPoints []EntryPointOnStore // of linked clones, by name
}

// EntryPointOnStore is an entry point with its linked clones.
type EntryPointOnStore struct {
	EntryPoint
	Clones []string // names of their replicas, and of clones that belong to no replica, sorted
	Defect string   // why they read wrong bytes, in words that follow the entry point's name; "": they do not
}

// Unclear is a replica with an lvol that may belong to another replica. Rename or
// delete the lvol by hand; until then both replicas are left alone.
type Unclear struct {
	Name   string // of the replica
	Reason string // names the lvol and both replicas
}

// NewSurvey finds the replicas of a store, complete or not, by the names of their
// lvols and, if these are ambiguous, by lineage. Refuses an inconsistent listing.
func NewSurvey(store Listing) (Survey, error) {
	x, err := newIndex(store)
	if err != nil {
		return Survey{}, refuse("%v", err)
	}
	s := &surveyor{index: x, examined: make(map[string]bool), assigned: make(map[string]bool)}
	s.survey.Store = store
	s.findImages()
	s.findEntryPoints()
	s.findReplicas()
	for _, l := range store.Lvols {
		if !s.assigned[l.UUID] {
			s.survey.Others = append(s.survey.Others, l)
		}
	}
	s.sort()
	return s.survey, nil
}

type surveyor struct {
	index    *index
	survey   Survey
	examined map[string]bool // names of replicas
	assigned map[string]bool // UUIDs of lvols
}

func (s *surveyor) findImages() {
	store := s.survey.Store
	for _, l := range store.Lvols {
		name, ok := ImageOfLvolName(l.Name, store.UUID)
		switch {
		case ok:
			s.survey.Images = append(s.survey.Images, BackingImage{Name: name, Lvol: l})
		case IsImageInFlight(l.Name), strings.HasPrefix(l.Name, imagePrefix) && strings.HasSuffix(l.Name, imageTempSuffix):
			s.survey.Filling = append(s.survey.Filling, l)
		default:
			continue
		}
		s.assigned[l.UUID] = true
	}
}

func (s *surveyor) findEntryPoints() {
	s.survey.EntryPoints = s.index.entryPoints()
	for _, e := range s.survey.EntryPoints {
		s.assigned[e.Lvol.UUID] = true
	}
}

// entryPoints lists all entry points on the store, by name.
func (x *index) entryPoints() (all []EntryPointOnStore) {
	clones := x.allLinkedClones()
	for _, named := range x.byName {
		l := x.store.Lvols[named.at]
		replica, snapshot, ok := entryPointOf(l.Name)
		if !ok || !l.ReadOnly && !l.Degraded {
			continue
		}
		all = append(all, EntryPointOnStore{EntryPoint{replica, snapshot, l}, clones[named.at], x.entryPointDefect(named.at)})
	}
	return all
}

// EntryPoints lists the entry points that are named after snapshots of the replica, by name.
func (r Replica) EntryPoints() []EntryPointOnStore {
	return slices.DeleteFunc(r.index.entryPoints(), func(e EntryPointOnStore) bool { return e.Replica != r.Name })
}

// findReplicas takes unambiguous names first: they identify the replica of the other
// lvols in their trees. The rest has no relatives. Users choose the names of
// snapshots, so of their readings the one with the shortest replica name counts.
func (s *surveyor) findReplicas() {
	var withoutRelatives [][]reading
	var of []Lvol
	for _, l := range s.survey.Store.Lvols {
		if s.assigned[l.UUID] {
			continue
		}
		switch all := readings(l); len(all) {
		case 0:
		case 1:
			s.addReplica(all[0].replica)
		default:
			withoutRelatives, of = append(withoutRelatives, all), append(of, l)
		}
	}
	for i, all := range withoutRelatives {
		for _, r := range all {
			if !s.assigned[of[i].UUID] {
				s.addReplica(r.replica)
			}
		}
	}
}

// addReplica adds the replica of that name, if it has any lvol.
func (s *surveyor) addReplica(name string) {
	if s.examined[name] {
		return
	}
	s.examined[name] = true
	r, err := s.index.replica(name, nil)
	if err != nil {
		s.survey.Unclear = append(s.survey.Unclear, Unclear{name, err.Error()})
		s.assignPossible(name)
		return
	}
	if !r.Exists() {
		return
	}
	s.survey.Replicas = append(s.survey.Replicas, r)
	for at, is := range r.members {
		if is.role != roleForeign {
			s.assigned[s.survey.Store.Lvols[at].UUID] = true
		}
	}
}

// assignPossible keeps lvols that may belong to an unclear replica out of Others.
func (s *surveyor) assignPossible(replica string) {
	for _, l := range s.survey.Store.Lvols {
		if _, may := readingFor(l, replica); may {
			s.assigned[l.UUID] = true
		}
	}
}

func (s *surveyor) sort() {
	sort.Slice(s.survey.Replicas, func(i, j int) bool { return s.survey.Replicas[i].Name < s.survey.Replicas[j].Name })
	sort.Slice(s.survey.Unclear, func(i, j int) bool { return s.survey.Unclear[i].Name < s.survey.Unclear[j].Name })
	sort.Slice(s.survey.Images, func(i, j int) bool { return s.survey.Images[i].Name < s.survey.Images[j].Name })
	byName := func(a, b Lvol) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(s.survey.Filling, byName)
	slices.SortFunc(s.survey.Others, byName)
}

// UsersOf lists the names of the image's clones.
func (s Survey) UsersOf(image BackingImage) []string {
	var users []string
	for _, l := range s.Store.Lvols {
		if l.Parent == image.Lvol.UUID {
			users = append(users, l.Name)
		}
	}
	slices.Sort(users)
	return users
}
