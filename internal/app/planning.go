package app

import (
	"context"

	"github.com/rootgraft/rebuild/internal/domain"
)

// Plan returns what Rebuild would do. It changes nothing.
func (e *Engine) Plan(ctx context.Context, asked Request) (domain.Plan, error) {
	return e.planRequest(ctx, asked.guarded())
}

func (e *Engine) planRequest(ctx context.Context, request request) (domain.Plan, error) {
	if err := request.check(); err != nil {
		return domain.Plan{}, err
	}
	from := newSources(request)
	before := e.space.filled()
	seen, err := observeHosts(ctx, request, from)
	if err != nil {
		return domain.Plan{}, err
	}
	volume, err := request.live.look(ctx)
	if err == nil {
		seen, err = request.live.see(seen, volume)
	}
	if err != nil {
		return domain.Plan{}, err
	}
	seen.filledBefore = before
	_, plan, err := e.plan(ctx, request, from, seen, nil)
	plan.Warnings = append(from.warnings(seen.passedOver), plan.Warnings...)
	return plan, err
}

// plan proves the snapshots that could be kept, and has the domain make the plan. It is
// made from the primary alone, but any source may know the volume's base.
//
// held is the run's reservation: the one of its last plan, replaced by that of the new
// one. nil: nothing is reserved.
func (e *Engine) plan(ctx context.Context, r request, from *sources, s observation, held *heldSpace) (observation, domain.Plan, error) {
	known := append([]domain.Replica{s.source}, replicasOf(s.others)...)
	image, err := domain.ResolveBase(r.Base, append(known, s.destination)...)
	if err != nil {
		return s, domain.Plan{}, refused(err)
	}
	r.Options.Sealings = append(e.knownSealings(ctx, r, s.destination.Store), r.Options.Sealings...)
	onSource, onDestination := domain.ProofCandidates(s.source, s.destination, image, r.Options)
	if s, err = s.prove(ctx, r, from, onSource, onDestination); err != nil {
		return s, domain.Plan{}, err
	}
	differ, err := from.checkPrimary(r, s.primary, s.source)
	if err != nil {
		return s, domain.Plan{Warnings: differ}, sourcesDiffer{refused(err)}
	}
	plan, err := e.planWithinSpace(r, s, image, held)
	plan.Warnings = append(differ, plan.Warnings...)
	return s, plan, refused(r.live.explainMissing(ctx, err, from, s.passedOver))
}

// sourcesDiffer is the refusal of a primary that lacks data of another source.
type sourcesDiffer struct{ error }

func (e sourcesDiffer) Unwrap() error { return e.error }

// heldSpace is the reservation of a run, which each plan replaces.
type heldSpace struct{ reservation *reservation }

// planWithinSpace plans with the space that others leave, and reserves the plan's. If
// another run has reserved meanwhile, it plans again. held may be nil: nothing is reserved.
func (e *Engine) planWithinSpace(r request, s observation, image domain.Base, held *heldSpace) (domain.Plan, error) {
	store, alreadyTaken := s.destination.Store, r.Options.Taken
	fetched := ""
	if name, has := image.Image(); has {
		if _, isThere := store.BackingImage(name); !isThere {
			fetched = domain.ImageLvolName(name, store.UUID)
		}
	}
	var old *reservation
	if held != nil {
		old = held.reservation
	}
	for {
		demand, shared, version := e.space.demand(store, s.filledBefore, old, fetched)
		r.Options.Taken, s.destination.Store.FreeClusters = alreadyTaken+demand, store.FreeClusters+shared
		plan, err := r.live.plan(s, image, r.Options)
		if err != nil || held == nil {
			return plan, err
		}
		reserve, err := domain.Reserve(store, r.Options.ReservePercent)
		if err != nil {
			return plan, err
		}
		if n := newReservation(plan, store, reserve); e.space.reserve(n, old, version) {
			held.reservation = n
			return plan, nil
		}
	}
}
