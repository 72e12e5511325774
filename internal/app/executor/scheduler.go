package executor

import (
	"slices"
	"sync"

	"github.com/rootgraft/rebuild/internal/domain"
)

// scheduler hands out the operations of one stage.
//
// Copies use disk and network, so their number is limited. All other operations are short,
// and a tree grows no faster than its longest chain of grafts and seals. These must not
// wait for a copy, so the same number of workers is kept for them. One copy at once means
// one operation at once.
type scheduler struct {
	most   int        // copies at once
	copies func() int // at once at present, at least 1

	mu        sync.Mutex
	changed   sync.Cond
	ready     [classes][]int
	classOf   map[int]class
	copying   int
	uncopied  []int         // copies in order, from the first that has not begun
	begun     map[int]bool  // copies
	filling   int           // lvols that were created but not copied yet
	waits     map[int]int   // number of operations that each waits for
	unlocks   map[int][]int // the operations that wait for each
	unlocked  map[int]bool
	remaining int // operations that are not done
	abandoned bool
}

// class is the kind of limit of an operation.
type class int

const (
	classOther class = iota
	classCreate
	classCopy
	classes
)

func newScheduler(operations []domain.Operation, stage domain.Stage, most int, copies func() int) *scheduler {
	s := &scheduler{
		most: most, copies: copies, classOf: make(map[int]class),
		waits: make(map[int]int), unlocks: make(map[int][]int), unlocked: make(map[int]bool), begun: make(map[int]bool),
	}
	s.changed.L = &s.mu
	for i, o := range operations {
		if o.Stage != stage {
			continue
		}
		s.remaining++
		switch o.Verb {
		case domain.VerbCreate:
			s.classOf[i] = classCreate
		case domain.VerbCopy:
			s.classOf[i] = classCopy
			s.uncopied = append(s.uncopied, i)
		}
		s.waits[i] = len(o.After)
		for _, before := range o.After {
			s.unlocks[before] = append(s.unlocks[before], i)
		}
		if len(o.After) == 0 {
			s.push(i)
		}
	}
	return s
}

// workers is the number of operations at once.
func (s *scheduler) workers() int {
	if s.most == 1 {
		return 1
	}
	return 2 * s.most
}

// mayBegin reports whether the first ready operation of a class may begin. Lvols are
// created only a little ahead of their copies, so that a crash leaves few. The last place
// for a copy is kept for the first copy in order even if it is not ready yet: the root is
// created together with others, and all wait for it.
func (s *scheduler) mayBegin(c class) bool {
	switch c {
	case classCreate:
		return s.filling < 2*s.copies()
	case classCopy:
		copies, first := s.copies(), s.ready[c][0] == s.uncopied[0]
		return s.copying < copies-1 || s.copying < copies && (first || copies == 1)
	}
	return true
}

func (s *scheduler) copyBegins(operation int) {
	s.copying++
	s.begun[operation] = true
	for len(s.uncopied) > 0 && s.begun[s.uncopied[0]] {
		delete(s.begun, s.uncopied[0])
		s.uncopied = s.uncopied[1:]
	}
}

func (s *scheduler) push(i int) {
	ready := &s.ready[s.classOf[i]]
	at, _ := slices.BinarySearch(*ready, i)
	*ready = slices.Insert(*ready, at, i)
}

// pop takes the first operation that may begin.
func (s *scheduler) pop() (operation int, ok bool) {
	best := classes
	for c := range classes {
		if len(s.ready[c]) > 0 && s.mayBegin(c) && (best == classes || s.ready[c][0] < s.ready[best][0]) {
			best = c
		}
	}
	switch best {
	case classes:
		return 0, false
	case classCreate:
		s.filling++
	case classCopy:
		s.copyBegins(s.ready[best][0])
	}
	first := s.ready[best][0]
	s.ready[best] = s.ready[best][1:]
	return first, true
}

// next waits for an operation that may begin. ok is false when none is left.
func (s *scheduler) next() (operation int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.remaining == 0 || s.abandoned {
			return 0, false
		}
		if o, ok := s.pop(); ok {
			return o, true
		}
		s.changed.Wait()
	}
}

// unlock starts the operations that depend on this one. It may precede done, which does
// it, too.
func (s *scheduler) unlock(operation int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unlockLocked(operation)
}

func (s *scheduler) unlockLocked(operation int) {
	if s.unlocked[operation] {
		return
	}
	s.unlocked[operation] = true
	for _, i := range s.unlocks[operation] {
		if s.waits[i]--; s.waits[i] == 0 {
			s.push(i)
		}
	}
	s.changed.Broadcast()
}

func (s *scheduler) done(operation int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remaining--
	if s.classOf[operation] == classCopy {
		s.copying--
		s.filling--
	}
	s.unlockLocked(operation)
	s.changed.Broadcast()
}

func (s *scheduler) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned = true
	s.changed.Broadcast()
}
