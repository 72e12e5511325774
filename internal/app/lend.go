package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Which source serves which copy, and what happens when it fails in that.

// offer is what one source can serve: an lvol, known by its UUID there.
type offer struct {
	at     int
	origin domain.Origin
}

// loans are what others than the primary offer for one plan.
type loans struct {
	offers map[string][]offer // by the UUID on the primary
	load   map[int]uint64     // clusters that copies in flight still have to copy, by source
}

// borrow finds out what other sources can serve of what is copied. Proofs are
// asked for of that alone, and of what looks the same.
func (x *execution) borrow(ctx context.Context) error {
	if len(x.seen.others) == 0 {
		return nil
	}
	var copied []string
	for _, o := range x.plan.Operations {
		if o.Verb == domain.VerbCopy {
			copied = append(copied, o.Source.UUID)
		}
	}
	if len(copied) == 0 {
		return nil
	}
	primary, lenders, err := x.proveLenders(ctx, copied)
	if err != nil {
		return err
	}
	for _, l := range lenders {
		loan := domain.NewSecondarySource(primary, l.replica, x.plan.Image, copied)
		x.sayUnlike(l.at, loan)
		for uuid, origin := range loan.Origins {
			x.loans.offers[uuid] = append(x.loans.offers[uuid], offer{l.at, origin})
		}
	}
	return nil
}

// proveLenders adds maps and checksums to the primary and to each other source.
// One that cannot be asked lends nothing.
func (x *execution) proveLenders(ctx context.Context, copied []string) (primary domain.Replica, lenders []lender, err error) {
	primary = x.seen.source
	wanted := make(map[string]bool)
	toProve := make([][]string, len(x.seen.others))
	for i, l := range x.seen.others {
		var onPrimary []string
		onPrimary, toProve[i] = domain.SecondaryProofCandidates(primary, l.replica, x.plan.Image, copied)
		for _, uuid := range onPrimary {
			wanted[uuid] = true
		}
	}
	lenders = slices.Clone(x.seen.others)
	if len(wanted) == 0 {
		return primary, lenders, nil
	}
	onPrimary := slices.DeleteFunc(slices.Clone(copied), func(uuid string) bool { return !wanted[uuid] })
	failures := make([]error, len(lenders))
	calls := []func() error{func() error {
		return x.insistOn(ctx, "prove what the sources have", func() (err error) {
			primary, err = proveOne(ctx, x.sources.sites[x.seen.primary], x.seen.source, onPrimary)
			return ofSource(x.seen.primary, err)
		})
	}}
	for i, l := range lenders {
		if len(toProve[i]) == 0 {
			continue
		}
		calls = append(calls, func() error {
			failures[i] = x.insistOn(ctx, "prove what the sources have", func() (err error) {
				lenders[i].replica, err = proveOne(ctx, x.sources.sites[l.at], l.replica, toProve[i])
				return err
			})
			return nil
		})
	}
	if err := x.atOnce(calls...); err != nil {
		return primary, nil, err
	}
	if ctx.Err() != nil {
		return primary, nil, context.Cause(ctx)
	}
	var proven []lender
	for i, l := range lenders {
		if failures[i] != nil {
			x.lose(l.at, failures[i])
			continue
		}
		proven = append(proven, l)
	}
	return primary, proven, nil
}

// sayUnlike warns of a source that has something else under a name than the
// primary: the volume's replicas differ.
func (x *execution) sayUnlike(at int, loan domain.SecondarySource) {
	var text string
	switch name := x.sources.name(at); {
	case loan.Unusable != "":
		text = fmt.Sprintf("source %s serves nothing: %s", name, loan.Unusable)
	case len(loan.Mismatches) == 1:
		text = fmt.Sprintf("source %s does not serve all that it has: %s there", name, loan.Mismatches[0])
	case len(loan.Mismatches) > 1:
		text = fmt.Sprintf("source %s does not serve all that it has: %s there, and %d more are not the same", name, loan.Mismatches[0], len(loan.Mismatches)-1)
	default:
		return
	}
	x.unlike = append(x.unlike, text)
	x.engine.log.Warn(text, zap.String("replica", x.run.Replica), zap.String("run", x.run.ID))
}

// offersOf are the offers, for what the plan has from the primary, of sources
// that are in use, in the order in which these were given.
func (x *execution) offersOf(planned domain.Origin) []offer {
	all := append([]offer{{x.seen.primary, planned}}, x.loans.offers[planned.UUID]...)
	all = slices.DeleteFunc(all, func(o offer) bool { return x.sources.whyLost(o.at) != nil })
	slices.SortFunc(all, func(a, b offer) int { return a.at - b.at })
	return all
}

// pick is who serves a copy: of those who can, the one that has least to do. An
// attempt that is made again stays where it is. From here on until end is called
// the copy counts as something that the source has to do, as much as left was told.
func (x *execution) pick(copy domain.Operation) (chosen offer, left func(clusters uint64), end func(), err error) {
	open := x.offersOf(copy.Source)
	x.mu.Lock()
	defer x.mu.Unlock()
	if served, ok := x.serving[copy.Target]; ok {
		left, end = x.carryLocked(served)
		return served, left, end, nil
	}
	if len(open) == 0 {
		return offer{}, nil, nil, fmt.Errorf("%w: no source is left that has %s", errPlanAgain, copy.Source.Name)
	}
	chosen = slices.MinFunc(open, func(a, b offer) int {
		switch {
		case x.loans.load[a.at] < x.loans.load[b.at]:
			return -1
		case x.loans.load[a.at] > x.loans.load[b.at]:
			return 1
		}
		return a.at - b.at
	})
	x.serving[copy.Target] = chosen
	left, end = x.carryLocked(chosen)
	return chosen, left, end, nil
}

// carryLocked counts what a copy still has to copy to its source's load until it
// ends. It is done together with the choice: two copies that begin at the same time
// would be served by the same source otherwise.
func (x *execution) carryLocked(from offer) (left func(clusters uint64), end func()) {
	counted := from.origin.Clusters
	x.loans.load[from.at] += counted
	left = func(clusters uint64) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.loans.load[from.at] += clusters - counted
		counted = clusters
	}
	return left, func() { left(0) }
}

// handOver is what is done about an operation that a source failed in: where
// another one has the same, that one is not used any more, and the operation is
// done again. A copy begins anew in an lvol of its own, since a target may copy
// on into the old one.
func (x *execution) handOver(ctx context.Context, o domain.Operation, failure error) (again bool, err error) {
	var of *sourceError
	if ctx.Err() != nil || errors.Is(failure, errPlanAgain) || !errors.As(failure, &of) {
		return false, failure
	}
	planned := o.Source
	if planned.UUID == "" { // a graft
		planned = x.begunAs(o.Target).planned
	}
	if !slices.ContainsFunc(x.offersOf(planned), func(other offer) bool { return other.at != of.at }) {
		return false, failure
	}
	if !errors.Is(failure, errNotUsed) {
		x.lose(of.at, failure)
	}
	if o.Verb != domain.VerbCopy {
		return true, nil
	}
	x.engine.log.Info("another source takes over", zap.String("replica", x.run.Replica), zap.String("run", x.run.ID), zap.String("of", o.Source.Name))
	if err := x.makeAnew(ctx, o); err != nil {
		return false, fmt.Errorf("%w (after a source had failed: %w)", err, failure)
	}
	return true, nil
}

// makeAnew replaces the lvol that a copy was filling. The copy may still go on;
// without its destination it ends.
func (x *execution) makeAnew(ctx context.Context, copy domain.Operation) error {
	host, old := x.request.Destination.Host, x.uuid(copy.Target)
	err := x.insistOn(ctx, "stop receiving", func() error {
		return patiently(ctx, func() error { return host.Withdraw(ctx, x.run, old) })
	})
	if err != nil {
		return fmt.Errorf("stop receiving: %w", err)
	}
	x.setReceived(old, false)
	err = x.insistOn(ctx, "discard a copy", func() error {
		return patiently(ctx, func() error { return host.Delete(ctx, old) })
	})
	if err != nil && !errors.Is(err, ports.ErrNotFound) {
		return fmt.Errorf("discard what was copied: %w", err)
	}
	x.mu.Lock()
	from := x.serving[copy.Target]
	x.mu.Unlock()
	x.unlockSources(from) // nothing is copied from there any more
	x.mu.Lock()
	delete(x.serving, copy.Target)
	name := x.drawn[copy.Target]
	delete(x.drawn, copy.Target)
	if release := x.claimed[name]; release != nil {
		delete(x.claimed, name)
		defer release()
	}
	x.mu.Unlock()
	for _, o := range x.plan.Operations {
		if o.Verb != domain.VerbCreate || o.Target != copy.Target {
			continue
		}
		return insist(ctx, func(error) {}, func(attempt int) error {
			if attempt > 0 {
				if done, err := x.settleCreate(ctx, o); done || err != nil {
					return err
				}
			}
			return x.create(ctx, host, o)
		})
	}
	return nil
}

// blame says whose failure it is that a copy has failed: the source's, if the
// destination still answers.
func (x *execution) blame(ctx context.Context, from offer, uuid string, failure error) error {
	if failure == nil || ctx.Err() != nil || errors.Is(failure, ports.ErrNoSpace) || !x.sources.several() {
		return failure
	}
	if x.sources.whyLost(from.at) != nil {
		return ofSource(from.at, errNotUsed)
	}
	if errors.Is(failure, ports.ErrUnavailable) {
		if _, err := x.request.Destination.Host.Look(ctx, uuid); errors.Is(err, ports.ErrUnavailable) {
			return failure
		}
	}
	return ofSource(from.at, failure)
}

// checkers are who is asked before a seal whether the source's snapshot is what
// it was: who has served the copy, and the primary. Where neither is in use any
// more, it is another one of which the same was proven; that the copy was whole
// was seen when it ended.
func (x *execution) checkers(began source) (asked []offer, err error) {
	open := x.offersOf(began.planned)
	for _, o := range open {
		if o.at == began.served.at || o.at == x.seen.primary {
			asked = append(asked, o)
		}
	}
	if len(asked) == 0 && len(open) > 0 {
		asked = open[:1]
	}
	if len(asked) == 0 {
		return nil, fmt.Errorf("%w: no source is left to compare the copy with", errPlanAgain)
	}
	return asked, nil
}
