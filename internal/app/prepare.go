package app

import (
	"context"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// uneven is the size of the ancestor of a plan that makes one, and the image that it is
// grafted onto, if that is there already and of another size: an image is as long as it
// was made, a volume as long as its user wants it. The whole tree waits for this graft.
// An image is nothing that the plan itself changes.
func uneven(plan domain.Plan, store domain.Listing) (size uint64, image string, ok bool) {
	made := make(map[domain.Ref]uint64) // sizes
	for _, o := range plan.Operations {
		if o.Verb == domain.VerbCreate {
			made[o.Target] = o.Size
		}
	}
	images := make(map[string]uint64) // sizes, by UUID
	for _, l := range store.Lvols {
		if _, is := domain.ImageOfLvolName(l.Name, store.UUID); is {
			images[l.UUID] = l.Size
		}
	}
	for _, o := range plan.Operations {
		uuid, there := o.Parent.Listed()
		if size, is := made[o.Target]; o.Verb == domain.VerbGraft && is && there && images[uuid] > 0 && images[uuid] != size {
			return size, uuid, true
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
	size, image, is := uneven(x.plan, x.seen.destination.Store)
	if !ok || !is || x.prepared != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	prepared := make(chan struct{})
	x.prepared, x.unprepare = prepared, cancel
	prepare := func() {
		defer close(prepared)
		defer cancel()
		release, err := x.lockLvol(ctx, x.seen.destination.Store, image)
		if err != nil {
			return
		}
		defer release()
		if err := preparer.PrepareGraft(ctx, x.run, size, image); err != nil {
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
