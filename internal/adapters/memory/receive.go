package memory

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/ports"
)

// reception lets one peer copy into an lvol. It is guarded by its host's mutex.
type reception struct {
	id     uint64
	run    ports.Run
	from   ports.Peer
	into   *lvol
	copies map[*operation]struct{} // that write into it
}

// Peer implements ports.Copier.
func (h *Host) Peer(ctx context.Context) (ports.Peer, error) {
	err := h.perform(ctx, Call{Method: "peer"}, "get its peer", func() error { return nil })
	return unlessLost(h.peer(), err)
}

func (h *Host) peer() ports.Peer { return ports.Peer(fmt.Sprintf("memory:%d", h.number)) }

// Receive implements ports.Copier. A second reception of an lvol ends the first, whose
// answer may have been lost. ErrInvalid for a snapshot.
func (h *Host) Receive(ctx context.Context, run ports.Run, uuid string, from ports.Peer) (ports.Address, error) {
	var address ports.Address
	err := h.perform(ctx, h.onLvol("receive", uuid), "receive into "+h.nameOrUUID(uuid), func() error {
		l, err := h.findWritable(uuid)
		if err != nil {
			return err
		}
		h.endReception(l.reception, errWithdrawn)
		h.opened++
		l.reception = &reception{id: h.opened, run: run, from: from, into: l, copies: make(map[*operation]struct{})}
		h.receptions[h.opened] = l.reception
		address = ports.Address(fmt.Sprintf(addressFormat, h.number, h.opened))
		return nil
	})
	return unlessLost(address, err)
}

// Withdraw implements ports.Copier. The copied snapshot is unlocked when it returns.
func (h *Host) Withdraw(ctx context.Context, run ports.Run, uuid string) error {
	var ends []*operation
	err := h.perform(ctx, h.onLvol("withdraw", uuid), "withdraw "+h.nameOrUUID(uuid), func() error {
		if l, ok := h.lvols[uuid]; ok {
			ends = h.endReception(l.reception, errWithdrawn)
		}
		return nil
	})
	if err == nil {
		waitFor(ctx, ends)
	}
	return err
}

func waitFor(ctx context.Context, operations []*operation) {
	for _, op := range operations {
		select {
		case <-op.over:
		case <-ctx.Done():
		}
	}
}

// Release implements ports.Copier: it ends receptions, open bytes, ways, connections and
// copies from this host that belong to runs of that replica.
func (h *Host) Release(ctx context.Context, run ports.Run) error {
	return h.endRuns(ctx, run, run.SameReplica)
}

// End implements ports.Ender. Inject sees it as a release.
func (h *Host) End(ctx context.Context, run ports.Run) error {
	return h.endRuns(ctx, run, func(other ports.Run) bool { return other == run })
}

func (h *Host) endRuns(ctx context.Context, run ports.Run, which func(ports.Run) bool) error {
	var ends []*operation
	err := h.perform(ctx, Call{Method: "release"}, "release runs of "+run.Replica, func() error {
		for _, r := range h.receptions {
			if which(r.run) {
				ends = append(ends, h.endReception(r, errReleased)...)
			}
		}
		for o := range h.openings {
			if which(o.run) {
				h.endOpening(o, errReleased)
			}
		}
		for op := range h.operations {
			if op.sends && which(op.run) {
				op.stop(errReleased)
				ends = append(ends, op)
			}
		}
		return h.endWays(which)
	})
	if err == nil {
		waitFor(ctx, ends)
	}
	return err
}

// endReception ends a reception, unless it is nil. The copies into it end soon.
func (h *Host) endReception(r *reception, reason error) (ends []*operation) {
	if r == nil {
		return nil
	}
	for op := range r.copies {
		op.stop(reason)
		ends = append(ends, op)
	}
	r.into.reception = nil
	delete(h.receptions, r.id)
	return ends
}
