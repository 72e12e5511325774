package app

import (
	"context"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

func (r *rebuild) executor(seen observation, plan domain.Plan, secondary map[string][]executor.Candidate, imageReady func()) *executor.Executor {
	c := executor.Config{
		Host: r.request.Destination.Host, Listing: seen.destination.Store, Plan: plan, Run: r.run,
		Sources: r.sources.forExecutor(seen, r.lose), Primary: seen.primary, Secondary: secondary,
		Parallel:    r.request.parallel(),
		Limits:      &limits{request: r.request, run: r.run, log: r.engine.log},
		Space:       rebuildSpace{&r.engine.space, r.space.reservation, r.request.Destination.Host},
		Image:       executor.Image{Lease: r.leaseImage(seen), Ready: imageReady},
		Sink:        &rebuildSink{planSink: planSink{r.progress}, rebuild: r, seen: seen},
		Lock:        r.engine.lockLvol,
		KeepsSealed: r.request.Journal != nil || seen.source.Store.Proves && seen.destination.Store.Proves,
		Log:         r.engine.log,
	}
	if live := r.request.live; live != nil {
		c.Live, c.KeepOpen = live, true
		if seen.whole != nil {
			c.Listing = *seen.whole
		}
	}
	if r.request.Views {
		c.Image.Compare = r.compareImage
	}
	return executor.New(c)
}

func (r *rebuild) leaseImage(seen observation) func(ctx context.Context, name string) (func(), error) {
	return func(ctx context.Context, name string) (func(), error) {
		return r.engine.leaseNow(ctx, r.request.Destination.Host, imageKey(seen.destination.Store.UUID, name), ports.Lease{Holder: r.holder})
	}
}

func (r *rebuild) compareImage(ctx context.Context, with executor.Candidate, fetched string) error {
	theirs, err := r.readLvol(ctx, r.sources.sites[with.Source], with.Origin.UUID)
	if err != nil {
		return fmt.Errorf("read the image back: %w", executor.OfSource(with.Source, err))
	}
	ours, err := r.readLvol(ctx, r.request.Destination, fetched)
	if err != nil {
		return fmt.Errorf("read the image back: %w", err)
	}
	if ours != theirs {
		return fmt.Errorf("%w: the bytes of the fetched image differ from the source's", ports.ErrCorrupt)
	}
	return nil
}

func (s *sources) forExecutor(seen observation, lose func(at int, why error)) []*executor.Source {
	all := make([]*executor.Source, len(s.sites))
	for at, site := range s.sites {
		all[at] = &executor.Source{Host: site.Host, Used: s.state[at].use, Lose: func(why error) { lose(at, why) }}
	}
	all[seen.primary].Listing = seen.source.Store
	for _, other := range seen.others {
		all[other.at].Listing = other.replica.Store
	}
	return all
}

// planSink reports the progress of a plan to an observer.
type planSink struct{ progress *progress }

// Began implements executor.Sink.
func (s planSink) Began(step executor.Step) { s.progress.operation(EventBegan, step, "") }

// Copied implements executor.Sink.
func (planSink) Copied(executor.Step, uint64) {}

// Retrying implements executor.Sink.
func (s planSink) Retrying(step executor.Step, failure error) { s.progress.retry(step, failure) }

// Ended implements executor.Sink.
func (s planSink) Ended(step executor.Step) { s.progress.operation(EventEnded, step, "") }

// Sealed implements executor.Sink.
func (planSink) Sealed(context.Context, string, domain.Sealing) {}

// LeftOpen implements executor.Sink.
func (planSink) LeftOpen(int, error) {}

// rebuildSink reports to the observer, the report and the journal.
type rebuildSink struct {
	planSink

	*rebuild
	seen observation // as the plan was made
	mu   sync.Mutex
}

// Copied implements executor.Sink.
func (s *rebuildSink) Copied(step executor.Step, clusters uint64) {
	s.rebuild.progress.copying(step, s.servedBy(step), clusters)
}

// Ended implements executor.Sink.
func (s *rebuildSink) Ended(step executor.Step) {
	switch step.Verb {
	case domain.VerbCopy:
		s.sources.addServed(step.ServedBy, served{step.Subject, step.Source.Clusters * s.seen.source.Store.ClusterSize})
	case domain.VerbDelete:
		s.reportDeleted(step.Operation)
	}
	s.rebuild.progress.operation(EventEnded, step, s.servedBy(step))
}

// Sealed implements executor.Sink.
func (s *rebuildSink) Sealed(ctx context.Context, lvolName string, sealing domain.Sealing) {
	s.journalSealing(ctx, lvolName, sealing)
}

// LeftOpen implements executor.Sink.
func (s *rebuildSink) LeftOpen(source int, why error) { s.leftOpen(source, why) }

// leftOpen warns of what a source that does not answer may have kept of the run.
func (r *rebuild) leftOpen(source int, why error) {
	text := fmt.Sprintf("exports or connections of this rebuild may remain on the host of source %s until the next rebuild or gc: %s", r.sources.name(source), inOneLine(why))
	r.sources.warn(text)
	r.engine.log.Warn(text, zap.String("replica", r.run.Replica), zap.String("run", r.run.ID))
}

// servedBy is the name of the source of a copy; "" if there is only one source.
func (s *rebuildSink) servedBy(step executor.Step) string {
	if step.ServedBy < 0 || !s.sources.several() {
		return ""
	}
	return s.sources.name(step.ServedBy)
}

// reportDeleted adds an lvol to the report if it existed when the plan was made.
func (s *rebuildSink) reportDeleted(o domain.Operation) {
	uuid, _ := o.Target.Listed()
	for _, l := range s.seen.destination.Store.Lvols {
		if l.UUID == uuid {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.report.Deleted = append(s.report.Deleted, domain.Deletion{Name: l.Name, Clusters: l.Own.Count, Degraded: l.Degraded})
			return
		}
	}
}

// rebuildSpace is the reserved space of one rebuild.
type rebuildSpace struct {
	ledger      *spaceLedger
	reservation *reservation
	host        *guard.Host
}

// Created implements executor.Room.
func (r rebuildSpace) Created(target domain.Ref, uuid string) {
	r.ledger.update(r.reservation, target, func(p *reservedLvol) { p.created(uuid) })
}

// Filled implements executor.Room.
func (r rebuildSpace) Filled(target domain.Ref, clusters uint64) {
	r.ledger.update(r.reservation, target, func(p *reservedLvol) { p.filled = clusters })
}

// Check implements executor.Room.
func (r rebuildSpace) Check(ctx context.Context) error {
	return r.ledger.check(ctx, r.host, r.reservation)
}

// Fill implements executor.Room.
func (r rebuildSpace) Fill(ctx context.Context, uuid string, fill func(context.Context) error) error {
	return r.ledger.whileSpaceLasts(ctx, r.host, r.reservation, func(ctx context.Context) error {
		return guard.WhileAnswering(ctx, r.host, uuid, fill)
	})
}
