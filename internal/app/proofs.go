package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// prove adds maps and checksums of the given snapshots. Hosts without them leave it
// unchanged.
func (s observation) prove(ctx context.Context, r request, from *sources, onSource, onDestination []string) (observation, error) {
	if !s.source.Store.Proves || !s.destination.Store.Proves || len(onSource) == 0 || len(onDestination) == 0 {
		return s, nil
	}
	both, ctx := r.both(ctx)
	both.Go(func() (err error) {
		s.source, err = proveOne(ctx, from.sites[s.primary], s.source, onSource)
		return executor.OfSource(s.primary, err)
	})
	both.Go(func() (err error) {
		s.destination, err = proveOne(ctx, r.Destination, s.destination, onDestination)
		return err
	})
	return s, both.Wait()
}

// proveAll adds all maps and checksums if Request.Proof asks for them, and returns what
// cannot be proven.
func (s observation) proveAll(ctx context.Context, r request, from *sources, image domain.Base) (observation, []domain.Violation, error) {
	if !r.Proof {
		return s, nil, nil
	}
	s, err := s.prove(ctx, r, from, toProve(s.source, image), toProve(s.destination, image))
	if err != nil {
		return s, nil, err
	}
	unproven, doubts := domain.Unproven(s.source, s.destination, image)
	s.proofWarnings = doubts
	return s, unproven, nil
}

func proveOne(ctx context.Context, at site, replica domain.Replica, snapshots []string) (domain.Replica, error) {
	prover, ok := ports.As[ports.Prover](at.Host)
	if !ok {
		return replica, nil
	}
	proofs, err := prover.Prove(ctx, snapshots)
	if errors.Is(err, ports.ErrUnsupported) {
		return replica, nil
	}
	if err != nil {
		return domain.Replica{}, fmt.Errorf("prove the snapshots of replica %s: %w", at.Replica, err)
	}
	return replica.WithProofs(proofs)
}

// toProve are the UUIDs of a replica's snapshots and image.
func toProve(r domain.Replica, image domain.Base) []string {
	all := uuids(r)
	if name, has := image.Image(); has {
		if here, is := r.Store.BackingImage(name); is {
			all = append(all, here.Lvol.UUID)
		}
	}
	return all
}

func uuids(r domain.Replica) []string {
	all := make([]string, 0, len(r.Snapshots))
	for _, s := range r.Snapshots {
		all = append(all, s.Lvol.UUID)
	}
	return all
}
