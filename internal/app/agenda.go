package app

import (
	"container/heap"
	"sync"

	"github.com/rootgraft/rebuild/internal/domain"
)

// agenda hands out the operations of one stage.
//
// Copies are what costs a disk and a network, so their number is what is
// limited. Everything else is short, and a tree grows no faster than its
// longest chain of grafts and seals: these must not wait for a copy to end, so
// as many hands again are kept for them. One copy at a time means one operation
// at a time.
type agenda struct {
	most   int        // copies at once
	copies func() int // at once now, at least 1

	mu       sync.Mutex
	changed  sync.Cond
	ready    [classes]ints
	classOf  map[int]class
	copying  int
	uncopied []int         // copies, in their order, from the first one on that has not begun
	begun    map[int]bool  // copies
	filling  int           // lvols that were created and are not copied yet
	waits    map[int]int   // for how many operations each waits
	unlocks  map[int][]int // which wait for it
	unlocked map[int]bool
	left     int // not done yet
	over     bool
}

// class is what limits an operation.
type class int

const (
	classOther class = iota
	classCreate
	classCopy
	classes
)

func newAgenda(operations []domain.Operation, stage domain.Stage, most int, copies func() int) *agenda {
	a := &agenda{
		most: most, copies: copies, classOf: make(map[int]class),
		waits: make(map[int]int), unlocks: make(map[int][]int), unlocked: make(map[int]bool), begun: make(map[int]bool),
	}
	a.changed.L = &a.mu
	for i, o := range operations {
		if o.Stage != stage {
			continue
		}
		a.left++
		switch o.Verb {
		case domain.VerbCreate:
			a.classOf[i] = classCreate
		case domain.VerbCopy:
			a.classOf[i] = classCopy
			a.uncopied = append(a.uncopied, i)
		}
		a.waits[i] = len(o.After)
		for _, before := range o.After {
			a.unlocks[before] = append(a.unlocks[before], i)
		}
		if len(o.After) == 0 {
			a.push(i)
		}
	}
	return a
}

// hands is how many operations there may be at once.
func (a *agenda) hands() int {
	if a.most == 1 {
		return 1
	}
	return 2 * a.most
}

// free says whether one more of a class may go on, the first that is ready. Lvols are
// created a little ahead of the copies and no more: a crash leaves few. The last place
// for a copy is kept for the first in order, which may not be ready yet though later
// ones are: the root is created together with others, and all wait for it.
func (a *agenda) free(c class) bool {
	switch c {
	case classCreate:
		return a.filling < 2*a.copies()
	case classCopy:
		copies, first := a.copies(), a.ready[c][0] == a.uncopied[0]
		return a.copying < copies-1 || a.copying < copies && (first || copies == 1)
	}
	return true
}

func (a *agenda) copyBegins(operation int) {
	a.copying++
	a.begun[operation] = true
	for len(a.uncopied) > 0 && a.begun[a.uncopied[0]] {
		delete(a.begun, a.uncopied[0])
		a.uncopied = a.uncopied[1:]
	}
}

func (a *agenda) push(i int) { heap.Push(&a.ready[a.classOf[i]], i) }

// pop takes the first operation that may begin.
func (a *agenda) pop() (operation int, ok bool) {
	best := classes
	for c := range classes {
		if len(a.ready[c]) > 0 && a.free(c) && (best == classes || a.ready[c][0] < a.ready[best][0]) {
			best = c
		}
	}
	switch best {
	case classes:
		return 0, false
	case classCreate:
		a.filling++
	case classCopy:
		a.copyBegins(a.ready[best][0])
	}
	return heap.Pop(&a.ready[best]).(int), true
}

// next waits until an operation can be done; ok is false when none is left.
func (a *agenda) next() (operation int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		if a.left == 0 || a.over {
			return 0, false
		}
		if o, ok := a.pop(); ok {
			return o, true
		}
		a.changed.Wait()
	}
}

// unlock lets the operations begin that come after it. It may be called before
// done, which calls it, too.
func (a *agenda) unlock(operation int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unlockLocked(operation)
}

func (a *agenda) unlockLocked(operation int) {
	if a.unlocked[operation] {
		return
	}
	a.unlocked[operation] = true
	for _, i := range a.unlocks[operation] {
		if a.waits[i]--; a.waits[i] == 0 {
			a.push(i)
		}
	}
	a.changed.Broadcast()
}

func (a *agenda) done(operation int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left--
	if a.classOf[operation] == classCopy {
		a.copying--
		a.filling--
	}
	a.unlockLocked(operation)
	a.changed.Broadcast()
}

func (a *agenda) abandon() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	a.changed.Broadcast()
}

// ints is a heap, the smallest first.
type ints []int

func (h ints) Len() int           { return len(h) }
func (h ints) Less(i, j int) bool { return h[i] < h[j] }
func (h ints) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *ints) Push(x any)        { *h = append(*h, x.(int)) }
func (h *ints) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
