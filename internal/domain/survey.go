package domain

import (
	"slices"
	"sort"
	"strings"
)

// Survey says of everything on a store whose it is.
type Survey struct {
	Store    Listing
	Replicas []Replica      // by name
	Unclear  []Unclear      // by name
	Images   []BackingImage // finished ones, by name
	Filling  []Lvol         // images that somebody fills, or has left, by name
	Others   []Lvol         // what is none of these, by name
}

// Unclear is a replica of whose lvols one cannot be told from another's. It
// has to be renamed or deleted by hand; until then nothing is done to either.
type Unclear struct {
	Name   string // of the replica
	Reason string // names the lvol and both replicas
}

// NewSurvey finds the replicas of a store, whole ones and what is left of
// others, by the names of their lvols and, where these can be read in several
// ways, by lineage. A listing that contradicts itself is refused.
func NewSurvey(store Listing) (Survey, error) {
	x, err := newIndex(store)
	if err != nil {
		return Survey{}, refuse("%v", err)
	}
	s := &surveyor{index: x, examined: make(map[string]bool), assigned: make(map[string]bool)}
	s.survey.Store = store
	s.findImages()
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
	examined map[string]bool // replicas that were looked for already
	assigned map[string]bool // UUIDs of lvols that somebody's are
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

// findReplicas takes names that can be read in one way first: they are certain,
// and tell whose the others are that they hang together with. What is left then
// is loose. Users choose the names of snapshots, so of its readings the one with
// the shortest replica name counts.
func (s *surveyor) findReplicas() {
	var loose [][]reading
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
			loose, of = append(loose, all), append(of, l)
		}
	}
	for i, all := range loose {
		for _, r := range all {
			if !s.assigned[of[i].UUID] {
				s.addReplica(r.replica)
			}
		}
	}
}

// addReplica adds the replica of that name, if anything is its own.
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

// assignPossible keeps what may belong to an unclear replica from being shown as
// nobody's.
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

// UsersOf are the names of the lvols that hang on the image.
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
