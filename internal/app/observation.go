package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
)

// observation is one listing of the replicas.
type observation struct {
	source, destination domain.Replica // source: the primary
	primary             int            // its position among the sources

	whole *domain.Listing // of the destination with its live chain; nil: destination has all

	others     []otherSource // other healthy sources
	passedOver []error       // by position; nil: not passed over
	unanswered []error       // by position: the error of a host that did not answer

	filledBefore []filledSoFar // filled by other runs before the destination was listed

	proofWarnings []string // things that a proof left open, no faults of the replica
}

// otherSource is a source, other than the primary, that may serve copies.
type otherSource struct {
	at      int
	replica domain.Replica
}

// observeHosts lists all hosts at once and picks the primary of several sources.
func observeHosts(ctx context.Context, r request, from *sources) (s observation, err error) {
	stores, failures := make([]domain.Listing, len(from.sites)), make([]error, len(from.sites))
	var destination domain.Listing
	all, listing := r.both(ctx)
	used := from.used()
	for _, at := range used {
		all.Go(func() error {
			stores[at], failures[at] = list(listing, from.sites[at])
			if from.several() {
				return nil
			}
			return failures[at]
		})
	}
	all.Go(func() (err error) {
		destination, err = list(listing, r.Destination)
		return err
	})
	if err := all.Wait(); err != nil {
		return observation{}, err
	}
	if ctx.Err() != nil {
		return observation{}, context.Cause(ctx)
	}
	s.unanswered = slices.Clone(failures)
	sources := make([]domain.Replica, len(from.sites))
	for _, at := range used {
		if failures[at] == nil {
			from.setLvstore(at, stores[at])
			if sources[at], failures[at] = from.sites[at].replica(stores[at]); failures[at] == nil {
				from.setReplica(at, sources[at])
			}
		}
		if failures[at] == nil {
			failures[at] = from.checkSameHead(at, sources[at])
		}
	}
	if from.several() {
		err = s.pick(r, from, sources, destination, failures)
	} else {
		s.source, err = sources[0], cmp.Or(failures[0], from.sites[0].checkFreezable(sources[0]))
	}
	if err != nil {
		return observation{unanswered: s.unanswered}, refused(err)
	}
	if s.destination, err = r.Destination.destination(destination, s.source); err != nil {
		return observation{}, refused(err)
	}
	return s, s.checkSourcesDiffer()
}

// pick picks the primary of several sources.
func (s *observation) pick(r request, from *sources, sources []domain.Replica, destination domain.Listing, failures []error) error {
	var seen []domain.Replica
	var places []int
	var unfreezable []int // they can only serve beside another one
	for _, at := range from.used() {
		switch {
		case failures[at] != nil:
		case from.sites[at].checkFreezable(sources[at]) != nil:
			unfreezable = append(unfreezable, at)
		default:
			seen, places = append(seen, sources[at]), append(places, at)
		}
	}
	if right := slices.IndexFunc(seen, func(s domain.Replica) bool { return s.Name == r.RightSource }); right > 0 {
		seen[0], seen[right] = seen[right], seen[0]
		places[0], places[right] = places[right], places[0]
	}
	freezable := len(seen)
	for _, at := range unfreezable {
		seen, places = append(seen, sources[at]), append(places, at)
	}
	primary, flaws := domain.PickPrimary(r.Base, seen, destination)
	for i, flaw := range flaws {
		failures[places[i]] = flaw
		if onlyBeside := i >= freezable && (primary >= freezable || seen[i].Name == r.RightSource); onlyBeside && flaw == nil {
			failures[places[i]] = from.sites[places[i]].checkFreezable(seen[i])
		}
	}
	if primary >= freezable {
		primary = -1
	}
	if primary >= 0 && r.RightSource != "" && seen[primary].Name != r.RightSource {
		return from.rightSourceUnusable(r.RightSource, failures)
	}
	if primary < 0 {
		return from.noneUsable(failures)
	}
	s.primary, s.source = places[primary], seen[primary]
	for i, at := range places {
		if flaws[i] == nil && domain.DifferentVolumes(s.source.Name, seen[i].Name) {
			failures[at] = refusef("replica %s on lvstore %s is named as a replica of another volume", seen[i].Name, seen[i].Store.Name)
		}
		if failures[at] == nil && i != primary {
			s.others = append(s.others, otherSource{at, seen[i]})
		}
	}
	s.passedOver = failures
	s.passedOver[s.primary] = nil
	return nil
}

// checkSourcesDiffer refuses a destination that is also a source, and a source that is
// given twice.
func (s observation) checkSourcesDiffer() error {
	type place struct{ store, replica string }
	given := make(map[place]bool)
	for _, source := range append([]domain.Replica{s.source}, replicasOf(s.others)...) {
		if source.Store.UUID == s.destination.Store.UUID && source.Name == s.destination.Name {
			return refusef("replica %s on lvstore %s is both source and destination", source.Name, source.Store.Name)
		}
		if here := (place{source.Store.UUID, source.Name}); given[here] {
			return refusef("replica %s on lvstore %s is given as a source twice", source.Name, source.Store.Name)
		} else {
			given[here] = true
		}
	}
	if !s.source.Exists() {
		return refusef("replica %s not found on lvstore %s", s.source.Name, s.source.Store.Name)
	}
	return nil
}

func replicasOf(others []otherSource) (replicas []domain.Replica) {
	for _, l := range others {
		replicas = append(replicas, l.replica)
	}
	return replicas
}

// observeAgain lists the primary and the destination.
func (s observation) observeAgain(ctx context.Context, r request, from *sources) (observation, error) {
	var source, destination domain.Listing
	both, listing := r.both(ctx)
	both.Go(func() (err error) {
		source, err = list(listing, from.sites[s.primary])
		return executor.OfSource(s.primary, err)
	})
	both.Go(func() (err error) {
		destination, err = list(listing, r.Destination)
		return err
	})
	err := both.Wait()
	if err != nil {
		return observation{}, err
	}
	if s.source, err = from.sites[s.primary].replica(source); err != nil {
		return observation{}, refused(err)
	}
	if err := from.checkSameHead(s.primary, s.source); err != nil {
		return observation{}, executor.OfSource(s.primary, err)
	}
	if s.destination, err = r.Destination.destination(destination, s.source); err != nil {
		return observation{}, refused(err)
	}
	if s, err = r.live.atCut(s); err != nil {
		return observation{}, refused(err)
	}
	return s, s.checkSourcesDiffer()
}

// both makes calls to hosts at once. A request that runs one operation at a time makes
// them one after the other, so that its n-th call is always the same.
func (r request) both(ctx context.Context) (*errgroup.Group, context.Context) {
	both, ctx := errgroup.WithContext(ctx)
	if r.parallel() == 1 {
		both.SetLimit(1)
	}
	return both, ctx
}

func list(ctx context.Context, at site) (domain.Listing, error) {
	store, err := at.Host.List(ctx)
	if err != nil {
		return domain.Listing{}, fmt.Errorf("list the host of replica %s: %w", at.Replica, err)
	}
	return store, nil
}
