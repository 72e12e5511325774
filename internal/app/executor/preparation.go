package executor

import (
	"context"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// preparation is work for the graft onto the image that is done beside everything before
// the first copy. During copies a disk is busy and each call could take long; another
// engine that deletes in-flight lvols could then meet an lvol in the middle of a change. A
// failure is ignored: the graft itself succeeds or reports it.
type preparation struct {
	done   chan struct{} // closed at the end; nil: not begun
	cancel func()
}

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

// end precedes the release of the run.
func (p *preparation) end() {
	if p.done != nil {
		p.cancel()
		<-p.done
	}
}

// Prepare lets the store prepare the graft onto the image as far as it can, beside everything
// else. Open does that, too.
func (x *Executor) Prepare(ctx context.Context) {
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
			x.Log.Debug("graft not prepared", zap.String("replica", x.Run.Replica), zap.String("run", x.Run.ID), zap.Error(err))
		}
	}
	if x.Parallel == 1 {
		prepare()
		return
	}
	go prepare()
}

// unevenGraft finds a graft of the new ancestor onto an existing image of another size,
// which needs preparation: the image's size is its own, the volume's is the user's choice.
// The whole tree waits for this graft. The plan does not change the image.
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
