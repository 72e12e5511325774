package spdk

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/table"
)

// Copy implements ports.Copier, by a shallow copy.
//
// SPDK cannot stop one. If the context ends, Copy returns at once, but the copy goes on
// until Withdraw at the destination removes the namespace. Until then Delete and another
// Copy of the snapshot return ErrBusy.
func (h *Host) Copy(ctx context.Context, run ports.Run, snapshot string, to ports.Address, progress ports.Progress) (err error) {
	defer h.store.Explain(&err, "copy snapshot %s", snapshot)
	where, err := h.exports.ParseAddress(to)
	if err != nil {
		return err
	}
	if err := h.copies.begin(ctx, snapshot); err != nil {
		return err
	}
	bdev, done, err := h.exports.Destination(ctx, run, where)
	if err != nil {
		h.copies.Take(snapshot)
		return err
	}
	defer done()
	started, err := h.copies.start(ctx, snapshot, bdev, where.Remote != nil)
	if err != nil {
		h.copies.Take(snapshot)
		if errors.Is(err, ports.ErrUnavailable) {
			h.exports.Doubt(run, where)
		}
		return err
	}
	h.copies.Set(snapshot, started)
	err = h.copies.watch(ctx, started, progress)
	if errors.Is(err, errStillCopying) || rpc.OutcomeUnknown(err) {
		started.watched = false
		h.copies.Set(snapshot, started)
		return err
	}
	h.copies.Take(snapshot)
	if refusedCopy(err, syscall.EIO) && h.exports.IsFull(ctx, where, bdev) {
		return rpc.WithKind(ports.ErrNoSpace, err)
	}
	return err
}

// copies are those that a host has started, by the snapshot's UUID, until their end is
// known.
type copies struct {
	table.Map[string, sending]

	client *rpc.Client
}

// sending is one copy.
type sending struct {
	operation uint32
	conn      uint64 // the connection that it was started over
	watched   bool   // a call of Copy asks for its status, which is handed out once
}

// begin makes sure that no copy of the snapshot goes on. A target would refuse a second
// one only in its status, later, and a delete meanwhile would hide the snapshot.
func (c *copies) begin(ctx context.Context, snapshot string) error {
	if err := c.none(ctx, snapshot); err != nil {
		return err
	}
	if !c.Add(snapshot, sending{watched: true}) {
		return errCopied
	}
	return nil
}

var errCopied = fmt.Errorf("it is being copied: %w", ports.ErrBusy)

// none returns ErrBusy while a copy of the snapshot goes on, also one that its caller
// has given up.
func (c *copies) none(ctx context.Context, snapshot string) error {
	one, copied := c.Find(snapshot)
	switch {
	case !copied:
		return nil
	case one.watched:
		return errCopied
	}
	if over, err := c.isOver(ctx, one); err != nil {
		return err
	} else if !over {
		return errCopied
	}
	c.ForgetIf(func(uuid string, now sending) bool { return uuid == snapshot && now == one })
	return nil
}

// isOver asks for the status of a copy that nobody watches. A target that has restarted
// copies nothing any more and numbers operations anew. If the connection broke it may
// have, so the copy counts as over; if it is not, Delete and Copy find out otherwise.
func (c *copies) isOver(ctx context.Context, one sending) (bool, error) {
	if c.client.ConnectionNumber() != one.conn {
		return true, nil
	}
	status, err := rpc.CheckShallowCopy(one.operation).Do(ctx, c.client)
	if errors.Is(err, ports.ErrNotFound) {
		return true, nil
	}
	return err == nil && status.State != helpertypes.ShallowCopyStateInProgress, err
}

// appearFor is how long a new namespace may take to appear as a bdev.
const appearFor = 2 * time.Second

// start starts a copy. A namespace that was just added may not be a bdev yet (ENODEV) or
// not be writable yet (EPERM).
func (c *copies) start(ctx context.Context, snapshot, bdev string, remote bool) (sending, error) {
	wait := rpc.BackOff{Pause: 2 * time.Millisecond, Longest: 50 * time.Millisecond, Until: time.Now().Add(appearFor)}
	for {
		start := rpc.StartShallowCopy(snapshot, bdev)
		c.client.Do(ctx, start)
		if start.Err == nil {
			return sending{operation: start.Result.OperationId, conn: start.Connection(), watched: true}, nil
		}
		var refusal *rpc.Refusal
		if !errors.As(start.Err, &refusal) || refusal.Code == -int(syscall.ENODEV) { // the latter: of the source
			return sending{}, start.Err
		}
		missing, notYet := rpc.RefusedAs(start.Err, syscall.ENODEV), rpc.RefusedAs(start.Err, syscall.EPERM)
		switch {
		case !missing && !notYet, missing && !remote:
			return sending{}, start.Err
		case !wait.Next(ctx):
			kind := ports.ErrBusy // something else writes to it
			if missing {
				kind = ports.ErrUnavailable
			}
			return sending{}, rpc.WithKind(kind, fmt.Errorf("the destination %s does not appear: %w", bdev, start.Err))
		}
	}
}
