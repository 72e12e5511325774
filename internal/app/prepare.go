package app

import (
	"context"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// uneven is the first lvol of a plan that is made and grafted onto one of another size
// which is there already, and that one; ok is false where there is none. As a rule it is
// the ancestor: an image is as long as it was made, a volume as long as its user wants
// it. The whole tree waits for its graft.
func uneven(plan domain.Plan, store domain.Store) (size uint64, parent string, ok bool) {
	sizes := make(map[domain.Ref]uint64) // of what is made
	for _, o := range plan.Operations {
		if o.Verb == domain.VerbCreate {
			sizes[o.Target] = o.Size
		}
	}
	listed := make(map[string]uint64)
	for _, l := range store.Lvols {
		listed[l.UUID] = l.Size
	}
	for _, o := range plan.Operations {
		made, is := sizes[o.Target]
		parent, there := o.Parent.Listed()
		if o.Verb == domain.VerbGraft && is && there && listed[parent] != made {
			return made, parent, true
		}
	}
	return 0, "", false
}

// prepare has the destination do ahead what it can of that graft, beside what comes
// before the first copy (awaitPrepared): while copies keep a disk busy each of its calls
// could take long, and an engine that does not see this run, and deletes what it finds in
// flight, would find an lvol in the middle of a change. It is of no consequence where it
// fails: the graft itself will tell, or works.
func (x *execution) prepare(ctx context.Context) {
	preparer, ok := can[ports.Preparer](x.request.Destination.Host)
	size, parent, is := uneven(x.plan, x.seen.destination.Store)
	if !ok || !is || x.prepared != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	prepared := make(chan struct{})
	x.prepared, x.unprepare = prepared, cancel
	prepare := func() {
		defer close(prepared)
		defer cancel()
		release, err := x.lockLvol(ctx, x.seen.destination.Store, parent)
		if err != nil {
			return
		}
		defer release()
		if err := preparer.PrepareGraft(ctx, x.run, size, parent); err != nil {
			x.engine.log.Debug("a graft is not prepared", zap.String("replica", x.run.Replica), zap.String("run", x.run.ID), zap.Error(err))
		}
	}
	if x.request.parallel() == 1 {
		prepare()
		return
	}
	go prepare()
}

// awaitPrepared waits until nothing is being prepared any more, or for the context's end.
func (x *execution) awaitPrepared(ctx context.Context) error {
	if x.prepared == nil {
		return nil
	}
	select {
	case <-x.prepared:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// endPreparing comes before the run is released.
func (x *execution) endPreparing() {
	if x.prepared != nil {
		x.unprepare()
		<-x.prepared
	}
}
