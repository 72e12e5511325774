package app

import (
	"context"
	"errors"
	"strings"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// explainMissing says why a plan lacks a member of the volume: it is being rebuilt, its replica was
// given and cannot be used, or was not given. passedOver are the reasons of sources, by position.
func (l *liveRun) explainMissing(ctx context.Context, failure error, from *sources, passedOver []error) error {
	missing := (*domain.MissingMember)(nil)
	if !errors.As(failure, &missing) {
		return failure
	}
	var reasons []string
	for at := range from.sites {
		why := from.lostReason(at)
		if why == nil && at < len(passedOver) {
			why = passedOver[at]
		}
		switch {
		case why == nil:
		case errors.Is(why, ErrAtWork):
			return refusef("%w: %w", failure, why)
		case missing.IsLvol(from.firstHead(at)):
			return refusef("%w: %s", failure, inOneLine(why))
		default:
			reasons = append(reasons, inOneLine(why))
		}
	}
	if other := l.rebuild.another(ctx); other != "" {
		return refusef("%w: %w, %s: wait until that has ended", failure, ErrAtWork, other)
	}
	if missing.IsHalfBuilt(from.others(-1)) {
		return refusef("%w, since it is half-built: %w, or was interrupted: wait until it has ended, or run it again", failure, ErrAtWork)
	}
	advice := "name every replica of the volume, since the snapshot is taken of each, or wait if that one is being rebuilt"
	if len(reasons) > 0 {
		advice = strings.Join(reasons, "; ") + "; if the member is another replica, name that, too"
	}
	return refusef("%w: %s", failure, advice)
}

// another names another rebuild that shares a source with this run. The run shares it, too, so an
// exclusive lease of it is refused, and the refusal names the holders. "": there is none, or this is a
// plan, which has no leases.
func (r *rebuild) another(ctx context.Context) string {
	if r.holder == "" {
		return ""
	}
	for _, at := range r.sources.used() {
		site := r.sources.sites[at]
		store, err := identify(ctx, site)
		if err != nil {
			continue
		}
		release, err := r.engine.leaseAmongProcesses(ctx, site.Host, replicaKey(store.UUID, site.Replica), ports.Lease{})
		if err == nil { // the host cannot share leases
			release()
		}
		held := &ports.HeldError{}
		_ = errors.As(err, &held)
		for _, holder := range held.Holders {
			if strings.HasPrefix(holder, rebuildHolder) && !strings.HasPrefix(holder, r.holder) {
				return strings.Replace(holder, " from it", "", 1)
			}
		}
	}
	return ""
}
