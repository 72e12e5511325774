package app

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/table"
)

// ErrEnded marks the errors of rebuilds, and of sources of rebuilds, that EndRebuilds or
// Queue.ForgetHost has ended.
var ErrEnded = errors.New("ended on request")

// Using selects the rebuilds that use a host, a replica, or, with both, that replica on
// that host. The zero Using selects none.
type Using struct {
	Host    ports.Host
	Replica string
}

func (u Using) selects(site Site) bool {
	if u.Host == nil && u.Replica == "" || u.Replica != "" && u.Replica != site.Replica {
		return false
	}
	return u.Host == nil || reflect.ValueOf(u.Host).Comparable() && u.Host == site.Host
}

// EndRebuilds ends the rebuilds of this engine that use a host or a replica that is gone:
// running ones, and waiting ones of a Queue. It returns at once with the number of
// rebuilds that it found. A rebuild ends if its destination is gone, or all its sources
// are; its error wraps ErrEnded and why. If only some of its sources are gone, it goes on
// with the others. As after a cancellation, cleanup on a host that does not answer takes
// at most 30 seconds.
func (e *Engine) EndRebuilds(of Using, why error) (found int) {
	return e.uses.endUsing(of, why)
}

// uses are the hosts and replicas of all running and waiting rebuilds. The zero value is
// ready.
type uses struct {
	all table.Map[*use, struct{}]
}

// use is the hosts and replicas of one rebuild, from Rebuild or Queue.Submit to its end.
type use struct {
	ctx         context.Context // of the rebuild
	end         context.CancelCauseFunc
	destination Site
	sources     []*sourceUse
	changed     bool // by a run of it: something on a host
}

// sourceUse is one source of a rebuild; its context ends when the source is gone.
type sourceUse struct {
	site Site
	used context.Context
	lose context.CancelCauseFunc
}

func (u *uses) add(ctx context.Context, r Request) *use {
	added := &use{destination: r.Destination}
	added.ctx, added.end = context.WithCancelCause(ctx)
	for _, site := range r.sources() {
		s := &sourceUse{site: site}
		s.used, s.lose = context.WithCancelCause(context.Background())
		added.sources = append(added.sources, s)
	}
	u.all.Set(added, struct{}{})
	return added
}

func (u *uses) remove(ended *use) {
	ended.end(nil)
	u.all.Take(ended)
}

func (u *uses) endUsing(of Using, why error) (found int) {
	for one := range u.all.All() {
		if one.endUsing(of, why) {
			found++
		}
	}
	return found
}

// endUsing ends the rebuild or its use of a source, and reports whether it found either.
func (u *use) endUsing(of Using, why error) (found bool) {
	if u.ctx.Err() != nil {
		return false
	}
	if why == nil {
		why = errors.New("no reason was given")
	}
	if of.selects(u.destination) {
		u.end(fmt.Errorf("%w, since its destination, replica %s, is gone: %w", ErrEnded, u.destination.Replica, why))
		return true
	}
	for _, s := range u.sources {
		if s.used.Err() == nil && of.selects(s.site) {
			found = true
			s.lose(fmt.Errorf("%w: %w", ErrEnded, why))
		}
	}
	if found && len(u.left()) == 0 {
		u.endWithoutSource(why)
	}
	return found
}

func (u *use) endWithoutSource(why error) {
	gone := fmt.Sprintf("its source, replica %s, is gone", u.sources[0].site.Replica)
	if len(u.sources) > 1 {
		gone = "all its sources are gone"
	}
	u.end(fmt.Errorf("%w, since %s: %w", ErrEnded, gone, why))
}

// left are the sources that are not gone.
func (u *use) left() (sites []Site) {
	for _, s := range u.sources {
		if s.used.Err() == nil {
			sites = append(sites, s.site)
		}
	}
	return sites
}

// watchSources loses each source that is gone, until stop is called. With a single source
// the whole rebuild ends instead.
func (r *rebuild) watchSources() (stop func()) {
	over := make(chan struct{})
	var watching sync.WaitGroup
	for at, s := range r.use.sources {
		watching.Go(func() {
			select {
			case <-s.used.Done():
				r.loseOrEnd(at, context.Cause(s.used))
			case <-over:
			}
		})
	}
	return func() { close(over); watching.Wait() }
}

// loseGoneSources loses the sources that were gone before the rebuild began.
func (r *rebuild) loseGoneSources() {
	for at, s := range r.use.sources {
		if s.used.Err() != nil {
			r.loseOrEnd(at, context.Cause(s.used))
		}
	}
}

// loseOrEnd loses a source, and ends the rebuild if it was the last one.
func (r *rebuild) loseOrEnd(at int, why error) {
	r.lose(at, why)
	if len(r.sources.used()) == 0 {
		r.use.endWithoutSource(why)
	}
}
