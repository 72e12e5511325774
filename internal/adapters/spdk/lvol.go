package spdk

import (
	"context"
	"errors"
	"fmt"

	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"
	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/keylock"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/randid"
)

// lvols makes, changes and deletes lvols of one lvstore: the steps of the verbs.
type lvols struct {
	*rpc.Lvstore

	log       *zap.Logger
	locks     keylock.Locks // by lvol
	leftovers leftovers
}

// lock waits until nobody else grafts onto the lvol, clones or deletes it: a target
// refuses the second of two such calls at once.
func (l *lvols) lock(ctx context.Context, uuid string) (unlock func(), err error) {
	if unlock, err = l.locks.Take(ctx, "lvol "+uuid); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ports.ErrUnavailable)
	}
	return unlock, nil
}

// create makes a thin lvol on nothing.
//
// It asks for no clear method: that is how clusters are cleared when they are given
// back, and the operator has chosen one for the store. None is needed here: a cluster
// without data reads as zeros, and copies write whole clusters.
func (l *lvols) create(ctx context.Context, name string, size uint64) (string, error) {
	if err := l.checkName(name); err != nil {
		return "", err
	}
	mib, err := l.mebibytes(size)
	if err != nil {
		return "", err
	}
	return rpc.CreateLvol(l.UUID, name, mib).Do(ctx, l.Client)
}

// clone clones a snapshot, whose lock must be held.
func (l *lvols) clone(ctx context.Context, snapshot, name string) (uuid string, err error) {
	if err := l.checkName(name); err != nil {
		return "", err
	}
	err = rpc.WhileBusy(ctx, func() (err error) {
		uuid, err = rpc.CloneLvol(snapshot, name).Do(ctx, l.Client)
		return err
	})
	return uuid, err
}

// freeze makes a snapshot of a writable lvol. Upstream SPDK takes no xattrs.
func (l *lvols) freeze(ctx context.Context, uuid, name string, xattrs map[string]string) (snapshot string, err error) {
	if err := l.checkName(name); err != nil {
		return "", err
	}
	if !l.Can.Records {
		xattrs = nil
	}
	err = rpc.WhileBusy(ctx, func() (err error) {
		snapshot, err = rpc.SnapshotLvol(uuid, name, xattrs).Do(ctx, l.Client)
		return err
	})
	return snapshot, err
}

// setParent returns nil only if the target has confirmed the parent. A call without an
// answer may still be under way, and a snapshot taken then may lack the parent.
func (l *lvols) setParent(ctx context.Context, uuid, parent string) error {
	err := rpc.WhileBusy(ctx, func() error { return rpc.SetParent(uuid, parent).Do(ctx, l.Client) })
	if errors.Is(err, ports.ErrExists) {
		return nil // it is the parent already
	}
	return err
}

func (l *lvols) resize(ctx context.Context, uuid string, mib uint64) error {
	return rpc.WhileBusy(ctx, func() error { return rpc.ResizeLvol(uuid, mib).Do(ctx, l.Client) })
}

// deleteNow deletes without looking.
func (l *lvols) deleteNow(ctx context.Context, uuid string) error {
	return rpc.DeleteLvol(uuid).Do(ctx, l.Client)
}

// dropRest deletes the lvol that a snapshot was made of, by now an empty clone of it. If
// it is not empty, somebody has written to it since, such as a copy that was thought to
// be over, and the snapshot cannot be trusted.
//
// The look and the delete share a write: a target answers bdev_get_bdevs before it takes
// up the next call. If the rest was not empty nothing is lost, since an lvol that is not
// sealed is copied again. A graft onto the snapshot may go on meanwhile: a delete locks
// the clone, set_parent the child and the parent.
func (l *lvols) dropRest(ctx context.Context, uuid, snapshot string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(tidyFor, l.Client.Timeout))
	defer cancel()
	look, drop := rpc.GetBdev(uuid), rpc.DeleteLvol(uuid)
	l.Client.Do(ctx, look, drop)
	rest, err := l.Found(look, uuid)
	if errors.Is(err, ports.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	driver := rest.Driver.Lvol
	if rest.Own() > 0 || driver.BaseSnapshot != snapshot || len(driver.Clones) > 0 {
		return fmt.Errorf("the lvol had %d clusters, parent %q and %d clones after it was sealed, so something else is at work on it: %w",
			rest.Own(), driver.BaseSnapshot, len(driver.Clones), ports.ErrCorrupt)
	}
	return drop.Err
}

// checkName refuses what the target would refuse with a bare "Invalid
// argument".
func (l *lvols) checkName(name string) error {
	if limit := l.Can.NameLimit; len(name) > limit {
		return fmt.Errorf("name %s has %d bytes, the target takes %d: %w", name, len(name), limit, ports.ErrInvalid)
	}
	return nil
}

// helperName is a new name for a helper of an lvol: an in-flight name of the same
// replica, whose next run removes what a crash has left. Kin are the names of lvols that
// may be the same replica's, such as the parent and the clones.
func (l *lvols) helperName(name string, kin ...string) string {
	if _, image := domain.ImageOfLvolName(name, l.UUID); image || domain.IsImageInFlight(name) {
		return domain.ImageInFlightLvolName(newID())
	}
	return domain.InFlightLvolName(domain.ReplicaOfLvolName(name, kin...), newID())
}

// newID is 8 hex digits.
func newID() string { return randid.Hex(4) }

// mebibytes is a size in MiB, as SPDK takes it and rounds it up to clusters. If clusters
// are smaller than a MiB, some sizes are impossible.
func (l *lvols) mebibytes(size uint64) (uint64, error) {
	if size == 0 {
		return 0, fmt.Errorf("a size of 0 bytes: %w", ports.ErrInvalid)
	}
	mib := (size-1)/helpertypes.MiB + 1
	if wanted, got := l.wholeClusters(size), l.wholeClusters(mib*helpertypes.MiB); wanted != got {
		return 0, fmt.Errorf("%d bytes are not a whole number of MiB, SPDK would make them %d: %w", size, got, ports.ErrInvalid)
	}
	return mib, nil
}

func (l *lvols) wholeClusters(size uint64) uint64 {
	return ((size-1)/l.ClusterSize + 1) * l.ClusterSize
}
