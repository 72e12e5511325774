package app

import (
	"container/heap"
	"context"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/domain"
)

// execution carries one plan out.
type execution struct {
	*rebuild
	seen    sight
	plan    domain.Plan
	subject []string // by operation

	// picture is played beside the store. What it refuses, a cycle above all,
	// is never asked of the store.
	pictureMu sync.Mutex
	picture   *domain.Picture

	mu        sync.Mutex
	uuids     map[domain.Ref]string // of what this run has made
	begun     map[string]source     // by UUID of the copy: what its source was when the copy began
	drawn     map[domain.Ref]string // names in flight
	played    map[step]bool         // on the picture
	received  map[string]bool       // UUIDs that the destination may still receive into
	imageLock func()
	claimed   func() // gives the claim on the image in flight back; nil: there is none
}

// step tells an operation from the others of its plan.
type step struct {
	stage  domain.Stage
	verb   domain.Verb
	target domain.Ref
}

// source is what rule 14 compares before a seal.
type source struct {
	uuid     string
	clusters uint64
}

func newExecution(r *rebuild, seen sight, plan domain.Plan, imageLock func()) *execution {
	return &execution{
		rebuild: r, seen: seen, plan: plan, subject: plan.SubjectOf(), imageLock: imageLock,
		picture: domain.NewPicture(seen.destination.Store, r.request.Destination.Replica),
		uuids:   make(map[domain.Ref]string), begun: make(map[string]source),
		drawn: make(map[domain.Ref]string), played: make(map[step]bool), received: make(map[string]bool),
	}
}

// do carries out the operations of one stage, several at once, each as soon
// as those are done that it comes after. Of those that could be next, the one
// that the plan lists first is: so trees grow from the root on.
func (x *execution) do(ctx context.Context, stage domain.Stage) error {
	todo := newAgenda(x.plan.Operations, stage)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	var hands sync.WaitGroup
	for range min(x.request.parallel(), todo.left) {
		hands.Go(func() {
			for {
				o, ok := todo.next()
				if !ok {
					return
				}
				if err := x.carryOutOne(ctx, o); err != nil {
					cancel(err) // the first failure stops the others
					todo.abandon()
					return
				}
				todo.done(o)
			}
		})
	}
	hands.Wait()
	return context.Cause(ctx)
}

func (x *execution) carryOutOne(ctx context.Context, i int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	o := x.plan.Operations[i]
	x.progress.operation(EventBegan, o, x.subject[i])
	if err := x.persist(ctx, i, o); err != nil {
		return fmt.Errorf("%s %s: %w", o.Verb, x.describe(i), err)
	}
	x.progress.operation(EventEnded, o, x.subject[i])
	x.engine.log.Debug(string(o.Verb), zap.String("replica", x.run.Replica), zap.String("run", x.run.ID), zap.String("of", x.describe(i)))
	return nil
}

// describe says what an operation is about.
func (x *execution) describe(i int) string {
	o := x.plan.Operations[i]
	switch store := x.seen.destination.Store.Name; {
	case o.Target.IsImage():
		return fmt.Sprintf("%s on lvstore %s", x.plan.Image, store)
	case o.Name != "":
		return fmt.Sprintf("lvol %s on lvstore %s", o.Name, store)
	default:
		return fmt.Sprintf("snapshot %s to lvstore %s", x.subject[i], store)
	}
}

// agenda hands operations out.
type agenda struct {
	mu      sync.Mutex
	changed sync.Cond
	ready   ints
	waits   map[int]int   // for how many operations each waits
	unlocks map[int][]int // which wait for it
	left    int           // not done yet
	over    bool
}

func newAgenda(operations []domain.Operation, stage domain.Stage) *agenda {
	a := &agenda{waits: make(map[int]int), unlocks: make(map[int][]int)}
	a.changed.L = &a.mu
	for i, o := range operations {
		if o.Stage != stage {
			continue
		}
		a.left++
		a.waits[i] = len(o.After)
		for _, before := range o.After {
			a.unlocks[before] = append(a.unlocks[before], i)
		}
		if len(o.After) == 0 {
			heap.Push(&a.ready, i)
		}
	}
	return a
}

// next waits until an operation can be done; ok is false when none is left.
func (a *agenda) next() (operation int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.ready) == 0 && a.left > 0 && !a.over {
		a.changed.Wait()
	}
	if a.left == 0 || a.over {
		return 0, false
	}
	return heap.Pop(&a.ready).(int), true
}

func (a *agenda) done(operation int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left--
	for _, i := range a.unlocks[operation] {
		if a.waits[i]--; a.waits[i] == 0 {
			heap.Push(&a.ready, i)
		}
	}
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
