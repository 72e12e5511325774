package app

import (
	"context"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
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
	picture   *domain.StoreModel

	mu        sync.Mutex
	uuids     map[domain.Ref]string // of what this run has made
	begun     map[domain.Ref]source // of copies: what was copied into what
	drawn     map[domain.Ref]string // names in flight
	serving   map[domain.Ref]offer  // who serves a copy, from its first attempt on
	loans     loans
	opened    []int                 // sources that the run may have opened something on
	played    map[step]bool         // on the picture
	received  map[string]bool       // UUIDs that the destination may still receive into
	counted   map[domain.Ref]counts // of copies: what was seen when they were grafted
	limited   map[string]bool       // UUIDs that have had a limit
	peers     map[int]ports.Peer    // who sends, by source
	crowning  bool                  // the head may be there
	imageLock func()
	image     imageProof
	claimed   map[string]func() // gives the claims on what is in flight of the image back, by name
	unsure    map[string]bool   // names in flight that a call may have given whose answer was lost

	copiedFrom map[offer]func() // gives the lock on what is being copied back

	prepared  <-chan struct{} // closed once nothing is being prepared; nil: nothing was
	unprepare func()          // gives it up

	closed chan error // nil, or what became of closing what the run has opened
}

// step tells an operation from the others of its plan.
type step struct {
	stage  domain.Stage
	verb   domain.Verb
	target domain.Ref
}

// source is what rule 14 compares before a seal.
type source struct {
	copy    string        // the UUID of the lvol in flight: once it is sealed, Ref stands for the snapshot
	served  offer         // what was copied
	planned domain.Origin // what the plan has: the same, on the primary
}

func newExecution(r *rebuild, seen sight, plan domain.Plan, imageLock func()) *execution {
	return &execution{
		rebuild: r, seen: seen, plan: plan, subject: plan.SubjectOf(), imageLock: imageLock,
		picture: domain.NewStoreModel(seen.destination.Store, r.request.Destination.Replica),
		uuids:   make(map[domain.Ref]string), begun: make(map[domain.Ref]source),
		drawn: make(map[domain.Ref]string), played: make(map[step]bool), received: make(map[string]bool), counted: make(map[domain.Ref]counts), limited: make(map[string]bool),
		claimed: make(map[string]func()), unsure: make(map[string]bool),
		serving: make(map[domain.Ref]offer), peers: make(map[int]ports.Peer), opened: r.sources.used(),
		loans: loans{offers: make(map[string][]offer), load: make(map[int]uint64)}, copiedFrom: make(map[offer]func()),
	}
}

// do carries out the operations of one stage, several at once, each as soon
// as those are done that it comes after. Of those that could be next, the one
// that the plan lists first is: so trees grow from the root on.
func (x *execution) do(ctx context.Context, stage domain.Stage) error {
	todo := newAgenda(x.plan.Operations, stage, x.request.parallel(), x.request.copiesAtOnce)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	var hands sync.WaitGroup
	for range min(todo.hands(), todo.left) {
		hands.Go(func() {
			for {
				o, ok := todo.next()
				if !ok {
					return
				}
				if err := x.carryOutOne(ctx, o, func() { todo.unlock(o) }); err != nil {
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

// carryOutOne does one operation. reached is called when what comes after it can
// begin, if that is before its end.
func (x *execution) carryOutOne(ctx context.Context, i int, reached func()) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	o := x.plan.Operations[i]
	x.progress.operation(EventBegan, o, x.subject[i], "")
	if err := x.persist(ctx, i, o, reached); err != nil {
		return fmt.Errorf("%s %s: %w", o.Verb, x.describe(i), err)
	}
	if o.Verb == domain.VerbDelete {
		x.noteDeleted(o)
	}
	x.progress.operation(EventEnded, o, x.subject[i], x.servedBy(o))
	x.engine.log.Debug(string(o.Verb), zap.String("replica", x.run.Replica), zap.String("run", x.run.ID), zap.String("of", x.describe(i)))
	return nil
}

// noteDeleted adds to the report what was there when the plan was made.
func (x *execution) noteDeleted(o domain.Operation) {
	uuid := x.uuid(o.Target)
	for _, l := range x.seen.destination.Store.Lvols {
		if l.UUID == uuid {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.report.Deleted = append(x.report.Deleted, domain.Deletion{Name: l.Name, Clusters: l.Own.Count, Degraded: l.Degraded})
			return
		}
	}
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
