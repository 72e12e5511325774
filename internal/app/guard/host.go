package guard

import (
	"context"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Host is a guarded host. It implements every optional interface of ports; ports.As finds
// out which of them the wrapped host has.
type Host struct {
	ports.Host

	knownProofs bool            // Prove computes no checksums
	used        context.Context // nil: without end
}

var (
	_ ports.Counter      = (*Host)(nil)
	_ ports.Prover       = (*Host)(nil)
	_ ports.Recorder     = (*Host)(nil)
	_ ports.Merger       = (*Host)(nil)
	_ ports.Renamer      = (*Host)(nil)
	_ ports.Live         = (*Host)(nil)
	_ ports.Limiter      = (*Host)(nil)
	_ ports.LeastLimiter = (*Host)(nil)
	_ ports.Opener       = (*Host)(nil)
	_ ports.Leaser       = (*Host)(nil)
	_ ports.Collector    = (*Host)(nil)
	_ ports.Ender        = (*Host)(nil)
	_ ports.Identifier   = (*Host)(nil)
	_ ports.Preparer     = (*Host)(nil)
	_ ports.Gauge        = (*Host)(nil)
)

// Wrap guards a host; nil stays nil.
func Wrap(host ports.Host) *Host {
	if guarded, is := host.(*Host); is || host == nil {
		return guarded
	}
	return &Host{Host: host}
}

// KnownProofs is like Wrap, but the host's Prove returns only checksums that are computed
// already.
func KnownProofs(host ports.Host) *Host {
	guarded := Wrap(host)
	if guarded == nil {
		return nil
	}
	return &Host{Host: guarded.Host, knownProofs: true}
}

// List lists a host that need not be a ports.Host.
func List(ctx context.Context, host ports.Looker) (domain.Listing, error) {
	return within(ctx, &Host{}, storeTime, host.List)
}

// Unwrap is for ports.As.
func (g *Host) Unwrap() ports.Host { return g.Host }

// List implements ports.Looker. A listing from elsewhere may claim Proves for a host that
// is no ports.Prover, and RenamesSnapshots for one that is no ports.Renamer.
func (g *Host) List(ctx context.Context) (domain.Listing, error) {
	listing, err := within(ctx, g, storeTime, g.Host.List)
	_, proves := ports.As[ports.Prover](g.Host)
	_, renames := ports.As[ports.Renamer](g.Host)
	listing.Proves = listing.Proves && proves
	listing.RenamesSnapshots = listing.RenamesSnapshots && renames
	return listing, err
}

// Look implements ports.Looker.
func (g *Host) Look(ctx context.Context, uuid string) (domain.Lvol, error) {
	return within(ctx, g, callTime, func(ctx context.Context) (domain.Lvol, error) { return g.Host.Look(ctx, uuid) })
}

// Create implements ports.Store.
func (g *Host) Create(ctx context.Context, name string, size uint64) (string, error) {
	return within(ctx, g, callTime, func(ctx context.Context) (string, error) { return g.Host.Create(ctx, name, size) })
}

// Graft implements ports.Store.
func (g *Host) Graft(ctx context.Context, uuid, parent string) error {
	return withinErr(ctx, g, func(ctx context.Context) error { return g.Host.Graft(ctx, uuid, parent) })
}

// Seal implements ports.Store.
func (g *Host) Seal(ctx context.Context, uuid, name string, seal ports.SealRecord) (string, error) {
	return within(ctx, g, callTime, func(ctx context.Context) (string, error) { return g.Host.Seal(ctx, uuid, name, seal) })
}

// Clone implements ports.Store.
func (g *Host) Clone(ctx context.Context, snapshot, name string, size uint64, record string) (string, error) {
	return patient(ctx, g, callTime, func(ctx context.Context) (string, error) {
		return g.Host.Clone(ctx, snapshot, name, size, record)
	})
}

// Delete implements ports.Store. It takes long for a large lvol.
func (g *Host) Delete(ctx context.Context, uuid string) error {
	return patientErr(ctx, g, storeTime, func(ctx context.Context) error { return g.Host.Delete(ctx, uuid) })
}

// Snapshot implements ports.Snapshotter.
func (g *Host) Snapshot(ctx context.Context, uuid, name string, attributes domain.Attributes) (string, error) {
	return patient(ctx, g, callTime, func(ctx context.Context) (string, error) {
		return g.Host.Snapshot(ctx, uuid, name, attributes)
	})
}

// Peer implements ports.Copier.
func (g *Host) Peer(ctx context.Context) (ports.Peer, error) {
	return within(ctx, g, callTime, g.Host.Peer)
}

// Receive implements ports.Copier.
func (g *Host) Receive(ctx context.Context, run ports.Run, uuid string, from ports.Peer) (ports.Address, error) {
	return within(ctx, g, callTime, func(ctx context.Context) (ports.Address, error) {
		return g.Host.Receive(ctx, run, uuid, from)
	})
}

// Withdraw implements ports.Copier.
func (g *Host) Withdraw(ctx context.Context, run ports.Run, uuid string) error {
	return withinErr(ctx, g, func(ctx context.Context) error { return g.Host.Withdraw(ctx, run, uuid) })
}

// Copy implements ports.Copier.
func (g *Host) Copy(ctx context.Context, run ports.Run, snapshot string, to ports.Address, progress ports.Progress) error {
	return retry.Busy.Call(ctx, func() error {
		return WhileAnswering(ctx, g, snapshot, func(ctx context.Context) error {
			return g.Host.Copy(ctx, run, snapshot, to, progress)
		})
	})
}

// Release implements ports.Copier.
func (g *Host) Release(ctx context.Context, run ports.Run) error {
	return withinErr(ctx, g, func(ctx context.Context) error { return g.Host.Release(ctx, run) })
}
