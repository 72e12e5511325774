package app

import (
	"context"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// knownSealings returns the seals that the journal has from earlier runs. On hosts without
// checksums, they are the only proof that a snapshot need not be copied again.
func (e *Engine) knownSealings(ctx context.Context, r request, destination domain.Listing) []domain.Sealing {
	if r.Journal == nil {
		return nil
	}
	known, err := r.Journal.Sealings(ctx, destination.UUID, r.Destination.Replica)
	if err != nil {
		e.log.Warn("journal not readable", zap.String("replica", r.Destination.Replica), zap.Error(err))
	}
	return known
}

// appendEntry writes to the journal, also after a cancellation. A failure is only logged:
// it costs a copy at the next rebuild, not this rebuild.
func (r *rebuild) appendEntry(ctx context.Context, e ports.Entry) {
	journal, store := r.request.Journal, r.report.Destination.Store
	if journal == nil || store.UUID == "" {
		return
	}
	e.At, e.Run, e.Store, e.Lvstore = time.Now().UTC(), r.run.Run, store.UUID, store.Name
	e.Run.Store = "" // the entry has it
	if err := journal.Append(context.WithoutCancel(ctx), e); err != nil {
		r.engine.log.Warn("journal entry not written", zap.String("replica", r.run.Replica), zap.Error(err))
	}
}

func (r *rebuild) journalBegin(ctx context.Context) {
	r.appendEntry(ctx, ports.Entry{Began: &ports.Began{Sources: r.sources.seen()}})
}

func (r *rebuild) journalSealing(ctx context.Context, lvolName string, s domain.Sealing) {
	name := strings.TrimPrefix(lvolName, domain.SnapshotLvolName(r.run.Replica, ""))
	r.appendEntry(ctx, ports.Entry{Sealed: &ports.Sealed{Snapshot: name, Sealing: s}})
}

func (r *rebuild) journalEnd(ctx context.Context, failure error) {
	end := &ports.Ended{
		Outcome: string(r.report.Outcome), Image: r.report.Plan.Base.Record(), Full: r.request.Options.Full,
		Warnings: r.report.Warnings, Deleted: r.report.Deleted, CopiedBytes: r.report.CopiedBytes, Duration: r.report.Duration,
	}
	if failure != nil {
		end.Error = failure.Error()
	}
	for _, s := range r.report.Sources {
		end.Served = append(end.Served, ports.Served{
			Replica: s.Replica, Lvstore: s.Lvstore, State: string(s.State), Reason: s.Reason, Snapshots: s.Snapshots, CopiedBytes: s.CopiedBytes,
		})
	}
	for _, s := range r.report.Plan.Steps {
		end.Steps = append(end.Steps, ports.Decided{Action: s.Action, Snapshot: s.Snapshot, Parent: s.Parent.String(), Reason: s.Reason, Clusters: s.Clusters})
	}
	r.appendEntry(ctx, ports.Entry{Ended: end})
}
