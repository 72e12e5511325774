package executor

import (
	"context"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// preparation is what is done ahead of the graft onto the image, beside what comes before
// the first copy: while copies keep a disk busy each of its calls could take long, and an
// engine that does not see this run, and deletes what it finds in flight, would find an
// lvol in the middle of a change. It is of no consequence where it fails: the graft itself
// will tell, or works.
type preparation struct {
	done   chan struct{} // closed once nothing is being prepared; nil: nothing was
	cancel func()
}

// wait waits until nothing is being prepared any more, or for the context's end.
func (p *preparation) wait(ctx context.Context) error {
	if p.done == nil {
		return nil
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end comes before the run is released.
func (p *preparation) end() {
	if p.done != nil {
		p.cancel()
		<-p.done
	}
}

// prepare has the store do ahead what it can of the graft.
func (x *Executor) prepare(ctx context.Context) {
	preparer, ok := ports.As[ports.Preparer](x.Host)
	size, image, is := unevenGraft(x.Plan, x.Listing)
	p := &x.preparation
	if !ok || !is || p.done != nil {
		return
	}
	ctx, p.cancel = context.WithCancel(ctx)
	p.done = make(chan struct{})
	prepare := func() {
		defer close(p.done)
		defer p.cancel()
		release, err := x.Lock(ctx, x.Listing, image)
		if err != nil {
			return
		}
		defer release()
		if err := preparer.PrepareGraft(ctx, x.Run.Run, size, image); err != nil {
			x.Log.Debug("a graft is not prepared", zap.String("replica", x.Run.Replica), zap.String("run", x.Run.ID), zap.Error(err))
		}
	}
	if x.Parallel == 1 {
		prepare()
		return
	}
	go prepare()
}

// unevenGraft is the size of the ancestor of a plan that makes one, and the image that it is
// grafted onto, if that is there already and of another size: an image is as long as it
// was made, a volume as long as its user wants it. The whole tree waits for this graft.
// An image is nothing that the plan itself changes.
func unevenGraft(plan domain.Plan, store domain.Listing) (size uint64, image string, ok bool) {
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
