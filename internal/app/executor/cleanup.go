package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// CleanUpTime is the most that a cleanup may take after its run has failed or was
// cancelled.
const CleanUpTime = 30 * time.Second

// ErrCleanUp marks errors after which something of a run may be left on a host. The next
// run removes it.
var ErrCleanUp = errors.New("cleanup incomplete: the next run will finish it")

// CleanUp ends everything that the run has opened. After a failure it also deletes every
// lvol of the run that has no final name. It works after the end of ctx, too.
func (x *Executor) CleanUp(ctx context.Context, failure error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CleanUpTime)
	defer cancel()
	defer x.leases.releaseAll()
	defer x.copies.unlockAll()
	x.preparation.end()
	budget := retry.Tidy()
	var problems []error
	try := func(do func() error) { problems = append(problems, budget.Call(ctx, do)) }
	err, closing := x.session.wait()
	for uuid := range x.copies.received.All() {
		// End copies first: on the target they may still go on.
		try(func() error { return x.Host.Withdraw(ctx, x.Run.Run, uuid) })
	}
	if !x.KeepOpen && (!closing || err != nil) {
		for _, release := range x.releases(ctx, retry.Once, x.end, x.ofSourceInUse) {
			problems = append(problems, x.tolerateSource(budget.Call(ctx, release)))
		}
	}
	if failure != nil {
		try(func() error { return x.deleteInFlight(ctx) })
	}
	if isFull(failure) && !x.headBegun && !x.KeepsSealed {
		try(func() error { return x.deleteSealed(ctx) })
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w: %w", ErrCleanUp, err)
	}
	return nil
}

// deleteInFlight deletes all lvols whose names this run has drawn, also in earlier
// attempts, and helpers that an adapter could not remove. It searches names, not UUIDs: a
// create whose answer was lost has returned no UUID.
func (x *Executor) deleteInFlight(ctx context.Context) error {
	listed := make(map[string]bool)
	for _, l := range x.Listing.Lvols {
		listed[l.UUID] = true
	}
	return DeleteAll(ctx, x.Host, func(l domain.Lvol) bool {
		of, inFlight := domain.ReplicaInFlight(l.Name)
		if x.Run.kept.Get(l.UUID) {
			return false
		}
		ours := inFlight && of == x.Run.Replica && strings.HasPrefix(l.Name, domain.InFlightLvolName(of, "")) // Longhorn's has no digits
		return x.Run.Drew(l.Name) || ours && !listed[l.UUID]
	})
}

// deleteSealed deletes the snapshots of this run that the next run could not keep. Other
// runs may need the space before that. A replica with a head is whole: under a head, perhaps of
// an earlier plan of this run, nothing is deleted.
func (x *Executor) deleteSealed(ctx context.Context) error {
	listing, err := x.Host.List(ctx)
	if err != nil || slices.ContainsFunc(listing.Lvols, func(l domain.Lvol) bool { return l.Name == x.Run.Replica }) {
		return err
	}
	sealed := make(map[string]bool)
	for _, s := range x.Run.Sealings() {
		sealed[s.Copy] = true
	}
	return DeleteAll(ctx, x.Host, func(l domain.Lvol) bool { return sealed[l.UUID] })
}

// DeleteAll deletes the selected lvols of a store, leaves first.
func DeleteAll(ctx context.Context, host ports.Host, selected func(domain.Lvol) bool) error {
	listing, err := host.List(ctx)
	if err != nil {
		return err
	}
	var left []domain.Lvol
	clones := make(map[string]int) // number, by UUID
	for _, l := range listing.Lvols {
		clones[l.Parent]++
		if selected(l) {
			left = append(left, l)
		}
	}
	var problems []error
	for len(left) > 0 {
		i := max(0, slices.IndexFunc(left, func(l domain.Lvol) bool { return clones[l.UUID] == 0 }))
		l := left[i]
		left = slices.Delete(left, i, i+1)
		err := host.Delete(ctx, l.UUID)
		if err != nil && !errors.Is(err, ports.ErrNotFound) {
			problems = append(problems, fmt.Errorf("delete lvol %s: %w", l.Name, err))
			continue
		}
		clones[l.Parent]--
	}
	return errors.Join(problems...)
}
