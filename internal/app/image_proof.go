package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// A backing image is believed by its name and by its record, in later runs, too, and a
// seal gives both for good. So a fetched image is proven before it is sealed. Hosts
// tell maps and checksums of snapshots alone: the lvol that was filled becomes a
// snapshot under a name in flight, that is proven, and a clone of it takes its clusters
// over, which moves no data. The clone is what is sealed as the image.
type imageProof struct {
	snapshot, clone string // names in flight
	proven, over    bool
}

// stepsOfProof are more than a proof takes, whatever answers are lost on the way.
const stepsOfProof = 16

// proveInFlight goes on where an earlier attempt has ended. Afterwards the
// operation's target is the clone.
func (x *execution) proveInFlight(ctx context.Context, host ports.Host, merger ports.Merger, o domain.Operation) error {
	p := &x.image
	if p.snapshot == "" {
		p.snapshot, p.clone = x.drawImageName(), x.drawImageName()
	}
	for range stepsOfProof {
		if p.over {
			return nil
		}
		if err := x.stepOfProof(ctx, host, merger, o); err != nil {
			return err
		}
	}
	return fmt.Errorf("prove the image: lvstore %s does not do what it says: %w", x.seen.destination.Store.Name, ports.ErrCorrupt)
}

// stepOfProof looks how far the proof has come, and does what is next: so it does not
// matter which answers were lost.
func (x *execution) stepOfProof(ctx context.Context, host ports.Host, merger ports.Merger, o domain.Operation) error {
	p, filled := &x.image, x.begunAs(o.Target).copy
	for _, name := range []string{p.snapshot, p.clone} {
		if err := x.claimImage(ctx, host, name); err != nil {
			return err
		}
	}
	store, err := host.List(ctx)
	if err != nil {
		return err
	}
	var rest, snapshot, clone *domain.Lvol
	for i := range store.Lvols {
		switch l := &store.Lvols[i]; {
		case l.Name == p.snapshot:
			snapshot = l
		case l.Name == p.clone:
			clone = l
		case l.UUID == filled:
			rest = l
		}
	}
	switch {
	case snapshot == nil && clone == nil:
		if err := x.compareBeforeSeal(ctx, host, o); err != nil {
			return err
		}
		return x.inFlight(ctx, &p.snapshot, func(name string) error {
			_, err := host.Seal(ctx, filled, name, ports.SealRecord{})
			return err
		})
	case snapshot == nil: // it was merged
		x.made(o.Target, clone.UUID)
		x.mu.Lock()
		defer x.mu.Unlock()
		began := x.begun[o.Target]
		began.copy = clone.UUID
		x.begun[o.Target] = began
		p.over = true
		return nil
	case rest != nil:
		if rest.Own.Count > 0 {
			return fmt.Errorf("%w: %w: something was written into the lvol after it had become %s", errPlanAgain, ports.ErrCorrupt, snapshot.Name)
		}
		return patiently(ctx, func() error { return host.Delete(ctx, rest.UUID) })
	case !p.proven:
		if err := x.proveImage(ctx, host, o, snapshot.UUID); err != nil {
			return err
		}
		p.proven = true
		return nil
	case clone == nil:
		return x.inFlight(ctx, &p.clone, func(name string) error {
			_, err := host.Clone(ctx, snapshot.UUID, name, snapshot.Size, "")
			return err
		})
	default:
		return patiently(ctx, func() error { return merger.Merge(ctx, snapshot.UUID) })
	}
}

// inFlight makes something of a name that was drawn. Where somebody else has that,
// another one is drawn: what is called so is not ours to remove.
func (x *execution) inFlight(ctx context.Context, name *string, do func(name string) error) error {
	err := patiently(ctx, func() error { return do(*name) })
	if errors.Is(err, ports.ErrExists) {
		x.giveUpName(*name)
		*name = x.drawImageName()
		return nil
	}
	return err
}

// proveSealed is for a host that cannot have clusters taken over. What is wrong is
// deleted, since nothing hangs on it yet; if that fails, nothing is recorded of it.
func (x *execution) proveSealed(ctx context.Context, o domain.Operation, sealed string) error {
	if !o.Prove || x.image.over {
		return nil
	}
	host := x.request.Destination.Host
	err := x.proveImage(ctx, host, o, sealed)
	if errors.Is(err, ports.ErrCorrupt) {
		return errors.Join(err, host.Delete(ctx, sealed))
	}
	return err
}

// readBack compares the bytes of an image that hosts prove nothing of, before its seal,
// where views are compared: afterwards a later run would take it for the source's.
func (x *execution) readBack(ctx context.Context, o domain.Operation, fetched string) error {
	if !x.request.Views || o.Prove {
		return nil
	}
	open := x.offersOf(o.Source)
	if len(open) == 0 {
		return fmt.Errorf("%w: no source is left to compare the image with", errPlanAgain)
	}
	from := open[0]
	theirs, err := x.readLvol(ctx, x.sources.sites[from.at], from.origin.UUID)
	if err != nil {
		return fmt.Errorf("read the image back: %w", ofSource(from.at, err))
	}
	ours, err := x.readLvol(ctx, x.request.Destination, fetched)
	if err != nil {
		return fmt.Errorf("read the image back: %w", err)
	}
	if ours != theirs {
		return fmt.Errorf("%w: the fetched image reads other bytes than the source's", ports.ErrCorrupt)
	}
	return nil
}

// readLvol is the SHA-256 of an lvol's bytes. Another run may be reading a shared image.
func (x *execution) readLvol(ctx context.Context, at Site, uuid string) (sum string, err error) {
	l, err := at.Host.Look(ctx, uuid)
	if err != nil {
		return "", err
	}
	var views Views
	err = patiently(ctx, func() (err error) {
		views, err = readViews(ctx, at, x.run, []domain.Lvol{l}, 1, newProgress(nil))
		return err
	})
	return views[uuid], err
}

// proveImage compares the fetched image with a source's. What a host tells no map and
// checksum of is not proven.
func (x *execution) proveImage(ctx context.Context, host ports.Host, o domain.Operation, fetched string) error {
	open := x.offersOf(o.Source)
	if len(open) == 0 {
		return fmt.Errorf("%w: no source is left to compare the image with", errPlanAgain)
	}
	from := open[0]
	theirs, err := proveLvol(ctx, x.sources.host(from.at), from.origin.UUID)
	if err != nil {
		return fmt.Errorf("prove the image: %w", ofSource(from.at, err))
	}
	ours, err := proveLvol(ctx, host, fetched)
	if err != nil {
		return fmt.Errorf("prove the image: %w", err)
	}
	if ours != theirs {
		return fmt.Errorf("%w: the fetched image is not the source's", ports.ErrCorrupt)
	}
	return nil
}

func proveLvol(ctx context.Context, host ports.Host, uuid string) (domain.Clusters, error) {
	prover, ok := can[ports.Prover](host)
	if !ok {
		return domain.Clusters{}, cannot("prove anything, but says that it does")
	}
	var told map[string]domain.Clusters
	err := patiently(ctx, func() (err error) {
		told, err = prover.Prove(ctx, []string{uuid})
		return err
	})
	if err == nil && !told[uuid].Proven() {
		err = fmt.Errorf("the host tells no map and checksum of lvol %s: %w", uuid, ports.ErrUnavailable)
	}
	return told[uuid], err
}
