package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// sight is what was seen of the two replicas at one time.
type sight struct {
	source, destination domain.Replica
}

// look lists both hosts at once.
func look(ctx context.Context, r Request) (s sight, err error) {
	var source, destination domain.Store
	both, ctx := r.both(ctx)
	both.Go(func() (err error) {
		source, err = list(ctx, r.Source)
		return err
	})
	both.Go(func() (err error) {
		destination, err = list(ctx, r.Destination)
		return err
	})
	if err := both.Wait(); err != nil {
		return sight{}, err
	}
	if s.source, err = domain.NewReplica(source, r.Source.Replica); err != nil {
		return sight{}, refused(err)
	}
	if s.destination, err = domain.NewDestination(destination, r.Destination.Replica, s.source); err != nil {
		return sight{}, refused(err)
	}
	if s.source.Store.UUID == s.destination.Store.UUID && r.Source.Replica == r.Destination.Replica {
		return sight{}, refusef("replica %s on lvstore %s is source and destination at once", r.Source.Replica, s.source.Store.Name)
	}
	if !s.source.Exists() {
		return sight{}, refusef("there is no replica %s on lvstore %s", r.Source.Replica, s.source.Store.Name)
	}
	return s, nil
}

// both asks two hosts something at once, or, where one thing is done at a time, one
// after the other, so that the n-th call is always the same.
func (r Request) both(ctx context.Context) (*errgroup.Group, context.Context) {
	both, ctx := errgroup.WithContext(ctx)
	if r.parallel() == 1 {
		both.SetLimit(1)
	}
	return both, ctx
}

func list(ctx context.Context, at Site) (domain.Store, error) {
	store, err := at.Host.List(ctx)
	if err != nil {
		return domain.Store{}, fmt.Errorf("list the host of replica %s: %w", at.Replica, err)
	}
	return store, nil
}

// prove adds maps and checksums to what was seen. which says of which
// snapshots; hosts that tell none leave it as it is.
func (s sight) prove(ctx context.Context, r Request, onSource, onDestination []string) (sight, error) {
	if !s.source.Store.Proves || !s.destination.Store.Proves || len(onSource) == 0 || len(onDestination) == 0 {
		return s, nil
	}
	both, ctx := r.both(ctx)
	both.Go(func() (err error) {
		s.source, err = proveOne(ctx, r.Source, s.source, onSource)
		return err
	})
	both.Go(func() (err error) {
		s.destination, err = proveOne(ctx, r.Destination, s.destination, onDestination)
		return err
	})
	return s, both.Wait()
}

func proveOne(ctx context.Context, at Site, replica domain.Replica, snapshots []string) (domain.Replica, error) {
	prover, ok := can[ports.Prover](at.Host)
	if !ok {
		return replica, nil
	}
	var proofs map[string]domain.Clusters
	err := patiently(ctx, func() (err error) {
		proofs, err = prover.Prove(ctx, snapshots)
		return err
	})
	if errors.Is(err, ports.ErrUnsupported) {
		return replica, nil
	}
	if err != nil {
		return domain.Replica{}, fmt.Errorf("prove the snapshots of replica %s: %w", at.Replica, err)
	}
	return replica.WithProofs(proofs)
}

// plan looks, if that was not done yet, proves what could be kept, and has the
// domain plan.
func (e *Engine) plan(ctx context.Context, r Request, looked *sight) (s sight, _ domain.Plan, err error) {
	if looked != nil {
		s = *looked
	} else if s, err = look(ctx, r); err != nil {
		return sight{}, domain.Plan{}, err
	}
	image, err := domain.ResolveImage(r.Image, s.source, s.destination)
	if err != nil {
		return s, domain.Plan{}, refused(err)
	}
	r.Options.Sealings = append(e.knownSealings(ctx, r, s.destination.Store), r.Options.Sealings...)
	onSource, onDestination := domain.Candidates(s.source, s.destination, image, r.Options)
	if s, err = s.prove(ctx, r, onSource, onDestination); err != nil {
		return s, domain.Plan{}, err
	}
	plan, err := domain.PlanRebuild(s.source, s.destination, r.Image, r.Options)
	return s, plan, refused(err)
}

// verify looks again and compares all but the head, which comes on what is
// right only.
func (e *Engine) verify(ctx context.Context, r Request, image domain.Image) (sight, []domain.Violation, error) {
	s, err := look(ctx, r)
	if err != nil {
		return sight{}, nil, err
	}
	if r.Proof {
		if s, err = s.prove(ctx, r, uuids(s.source), uuids(s.destination)); err != nil {
			return s, nil, err
		}
	}
	violations, err := s.violations(image, false)
	return s, violations, err
}

// lookAtHead adds the head, as it is now, to what was seen a moment ago.
func (x *execution) lookAtHead(ctx context.Context, s sight) (sight, error) {
	for _, o := range x.plan.Operations {
		if o.Stage != domain.StageCrown {
			continue
		}
		head, err := x.request.Destination.Host.Look(ctx, x.uuid(o.Target))
		if err != nil {
			return s, err
		}
		store := s.destination.Store
		store.Lvols = append(slices.DeleteFunc(slices.Clone(store.Lvols), func(l domain.Lvol) bool { return l.UUID == head.UUID }), head)
		if s.destination, err = domain.NewDestination(store, x.request.Destination.Replica, s.source); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s sight) violations(image domain.Image, withHead bool) ([]domain.Violation, error) {
	if withHead {
		return domain.Verify(s.source, s.destination, image)
	}
	return domain.VerifySnapshots(s.source, s.destination, image)
}

func uuids(r domain.Replica) []string {
	all := make([]string, 0, len(r.Snapshots))
	for _, s := range r.Snapshots {
		all = append(all, s.Lvol.UUID)
	}
	return all
}
