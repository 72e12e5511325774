package app

import (
	"context"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
)

// secondary finds the copies that other sources can serve, by the UUID on the primary. It
// proves only snapshots that are copied and look alike.
func (r *rebuild) secondary(ctx context.Context, seen observation, plan domain.Plan) (map[string][]executor.Candidate, error) {
	candidates := make(map[string][]executor.Candidate)
	var copied []string
	for _, o := range plan.Operations {
		if o.Verb == domain.VerbCopy {
			copied = append(copied, o.Source.UUID)
		}
	}
	if len(seen.others) == 0 || len(copied) == 0 {
		return candidates, nil
	}
	primary, others, err := r.proveSecondary(ctx, seen, plan.Base, copied)
	if err != nil {
		return nil, err
	}
	for _, other := range others {
		secondary := domain.NewSecondarySource(primary, other.replica, plan.Base, copied)
		r.warnOfMismatches(other.at, secondary)
		for uuid, origin := range secondary.Origins {
			candidates[uuid] = append(candidates[uuid], executor.Candidate{Source: other.at, Origin: origin})
		}
	}
	return candidates, nil
}

// proveSecondary adds maps and checksums to the primary and to each other source. A source
// that fails in this is lost.
func (r *rebuild) proveSecondary(ctx context.Context, seen observation, image domain.Base, copied []string) (primary domain.Replica, others []otherSource, err error) {
	primary = seen.source
	wanted := make(map[string]bool)
	toProve := make([][]string, len(seen.others))
	for i, l := range seen.others {
		var onPrimary []string
		onPrimary, toProve[i] = domain.SecondaryProofCandidates(primary, l.replica, image, copied)
		for _, uuid := range onPrimary {
			wanted[uuid] = true
		}
	}
	others = slices.Clone(seen.others)
	if len(wanted) == 0 {
		return primary, others, nil
	}
	onPrimary := slices.DeleteFunc(slices.Clone(copied), func(uuid string) bool { return !wanted[uuid] })
	failures := make([]error, len(others))
	calls := []func() error{func() error {
		return r.retry(ctx, "prove the sources' snapshots", func() (err error) {
			primary, err = proveOne(ctx, r.sources.sites[seen.primary], seen.source, onPrimary)
			return executor.OfSource(seen.primary, err)
		})
	}}
	for i, l := range others {
		if len(toProve[i]) == 0 {
			continue
		}
		calls = append(calls, func() error {
			failures[i] = r.retry(ctx, "prove the sources' snapshots", func() (err error) {
				others[i].replica, err = proveOne(ctx, r.sources.sites[l.at], l.replica, toProve[i])
				return err
			})
			return nil
		})
	}
	if err := executor.AtOnce(r.request.parallel(), calls...); err != nil {
		return primary, nil, err
	}
	if ctx.Err() != nil {
		return primary, nil, context.Cause(ctx)
	}
	var proven []otherSource
	for i, l := range others {
		if failures[i] != nil {
			r.lose(l.at, failures[i])
			continue
		}
		proven = append(proven, l)
	}
	return primary, proven, nil
}

// warnOfMismatches warns of a source that has other data than the primary under the same
// name: the volume's replicas differ.
func (r *rebuild) warnOfMismatches(at int, secondary domain.SecondarySource) {
	var text string
	switch name := r.sources.name(at); {
	case secondary.Unusable != "":
		text = fmt.Sprintf("source %s serves no copies: %s", name, secondary.Unusable)
	case len(secondary.Mismatches) == 1:
		text = fmt.Sprintf("source %s does not serve all its snapshots: %s there", name, secondary.Mismatches[0])
	case len(secondary.Mismatches) > 1:
		text = fmt.Sprintf("source %s does not serve all its snapshots: %s there, and %d more differ", name, secondary.Mismatches[0], len(secondary.Mismatches)-1)
	default:
		return
	}
	r.secondaryWarnings = append(r.secondaryWarnings, text)
	r.engine.log.Warn(text, zap.String("replica", r.run.Replica), zap.String("run", r.run.ID))
}
