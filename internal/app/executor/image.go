package executor

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/table"
)

// imageProof is the state of the proof of a fetched image.
//
// Later runs believe a backing image by its name and its record, and a seal gives it both.
// So a fetched image is proven before its seal. Hosts have maps and checksums of snapshots
// only. So the filled lvol becomes a snapshot under an in-flight name, which is proven.
// Then a clone takes its clusters over, without moving data, and is sealed as the image.
type imageProof struct {
	snapshot, clone string // in-flight names
	proven, done    bool
}

// proofSteps is more than a proof needs, also with lost answers.
const proofSteps = 16

// proveInFlight continues a proof where an earlier attempt ended. Afterwards the
// operation's target is the clone.
func (x *Executor) proveInFlight(ctx context.Context, merger ports.Merger, s *step) error {
	p := &x.image
	if p.snapshot == "" {
		p.snapshot, p.clone = x.drawImage(), x.drawImage()
	}
	for range proofSteps {
		if p.done {
			return nil
		}
		if err := x.proofStep(ctx, merger, s); err != nil {
			return err
		}
	}
	return fmt.Errorf("prove the image: lvstore %s confirms calls that have no effect: %w", x.Listing.Name, ports.ErrCorrupt)
}

func (x *Executor) drawImage() string { return x.Run.draw(domain.ImageInFlightLvolName, x.Listing) }

// proofStep finds the state of the proof on the store and does the next step, so lost
// answers do not matter.
func (x *Executor) proofStep(ctx context.Context, merger ports.Merger, s *step) error {
	p, filled := &x.image, x.refs.copies.Get(s.Target).uuid
	for _, name := range []string{p.snapshot, p.clone} {
		if err := x.leases.take(ctx, x.Image.Lease, name); err != nil {
			return err
		}
	}
	listing, err := x.Host.List(ctx)
	if err != nil {
		return err
	}
	var filledLvol, snapshot, clone *domain.Lvol
	for i := range listing.Lvols {
		switch l := &listing.Lvols[i]; {
		case l.Name == p.snapshot:
			snapshot = l
		case l.Name == p.clone:
			clone = l
		case l.UUID == filled:
			filledLvol = l
		}
	}
	switch {
	case snapshot == nil && clone == nil:
		if err := x.compareBeforeSeal(ctx, s); err != nil {
			return err
		}
		return x.makeInFlight(ctx, &p.snapshot, func(name string) error {
			uuid, err := x.Host.Seal(ctx, filled, name, ports.SealRecord{})
			if err == nil {
				x.Space.Created(s.Target, uuid)
			}
			return err
		})
	case snapshot == nil: // it was merged
		x.Space.Created(s.Target, clone.UUID)
		x.refs.replaceCopy(s.Target, clone.UUID)
		p.done = true
		return nil
	case filledLvol != nil:
		if filledLvol.Own.Count > 0 {
			return fmt.Errorf("%w: %w: something wrote to the lvol after it had become %s", ErrPlanAgain, ports.ErrCorrupt, snapshot.Name)
		}
		return x.Host.Delete(ctx, filledLvol.UUID)
	case !p.proven:
		if err := x.proveImage(ctx, s, snapshot.UUID); err != nil {
			return err
		}
		p.proven = true
		return nil
	case clone == nil:
		return x.makeInFlight(ctx, &p.clone, func(name string) error {
			uuid, err := x.Host.Clone(ctx, snapshot.UUID, name, snapshot.Size, "")
			if err == nil {
				x.Space.Created(s.Target, uuid)
			}
			return err
		})
	default:
		return merger.Merge(ctx, snapshot.UUID)
	}
}

// makeInFlight creates an lvol under a drawn name. If another owner has an lvol of that
// name, it must not be removed, so another name is drawn.
func (x *Executor) makeInFlight(ctx context.Context, name *string, do func(name string) error) error {
	err := retry.Busy.Call(ctx, func() error { return do(*name) })
	if errors.Is(err, ports.ErrExists) {
		x.Run.names.Take(*name)
		*name = x.drawImage()
		return nil
	}
	return err
}

// proveSealed proves an image after its seal, on a host that cannot merge. It deletes a
// wrong image, which has no clone yet. If the deletion fails, the image has no record.
func (x *Executor) proveSealed(ctx context.Context, s *step, sealed string) error {
	if !s.Prove || x.image.done {
		return nil
	}
	err := x.proveImage(ctx, s, sealed)
	if errors.Is(err, ports.ErrCorrupt) {
		return errors.Join(err, x.Host.Delete(ctx, sealed))
	}
	return err
}

// readBack compares the bytes of an image before its seal, if hosts prove nothing and
// views are compared. After the seal, a later run would believe it.
func (x *Executor) readBack(ctx context.Context, s *step, fetched string) error {
	if x.Image.Compare == nil || s.Prove {
		return nil
	}
	from, err := x.imageSource(s)
	if err != nil {
		return err
	}
	return x.Image.Compare(ctx, from, fetched)
}

// imageSource is the source whose image the fetched one is compared with.
func (x *Executor) imageSource(s *step) (Candidate, error) {
	open := x.candidates(s.Source)
	if len(open) == 0 {
		return Candidate{}, fmt.Errorf("%w: no source is left to compare the image with", ErrPlanAgain)
	}
	return open[0], nil
}

// proveImage compares map and checksum of the fetched image with a source's.
func (x *Executor) proveImage(ctx context.Context, s *step, fetched string) error {
	from, err := x.imageSource(s)
	if err != nil {
		return err
	}
	theirs, err := proveLvol(ctx, x.Sources[from.Source].Host, from.Origin.UUID)
	if err != nil {
		return fmt.Errorf("prove the image: %w", OfSource(from.Source, err))
	}
	ours, err := proveLvol(ctx, x.Host, fetched)
	if err != nil {
		return fmt.Errorf("prove the image: %w", err)
	}
	if ours != theirs {
		return fmt.Errorf("%w: the fetched image differs from the source's", ports.ErrCorrupt)
	}
	return nil
}

func proveLvol(ctx context.Context, host ports.Host, uuid string) (domain.Clusters, error) {
	prover, ok := ports.As[ports.Prover](host)
	if !ok {
		return domain.Clusters{}, ports.Cannot("prove snapshots, but claims that it can")
	}
	told, err := prover.Prove(ctx, []string{uuid})
	if err == nil && !told[uuid].Proven() {
		err = fmt.Errorf("the host has no map and checksum of lvol %s: %w", uuid, ports.ErrUnavailable)
	}
	return told[uuid], err
}

// leases are the leases of the image's in-flight names.
type leases struct {
	taking sync.Mutex
	held   table.Map[string, func()]
}

func (l *leases) take(ctx context.Context, lease func(ctx context.Context, name string) (func(), error), name string) error {
	l.taking.Lock()
	defer l.taking.Unlock()
	if _, held := l.held.Find(name); held {
		return nil
	}
	release, err := lease(ctx, name)
	if err == nil {
		l.held.Set(name, release)
	}
	return err
}

func (l *leases) release(name string) {
	if release, held := l.held.Take(name); held {
		release()
	}
}

func (l *leases) releaseAll() {
	for name := range l.held.All() {
		l.release(name)
	}
}
