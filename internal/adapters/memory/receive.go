package memory

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/ports"
)

// reception is a place that one peer can copy into. Its host's mutex guards it.
type reception struct {
	id     uint64
	run    ports.Run
	from   ports.Peer
	into   *lvol
	copies map[*operation]struct{} // that write into it
}

// Peer implements ports.Copier.
func (h *Host) Peer(ctx context.Context) (ports.Peer, error) {
	err := h.carryOut(ctx, Call{Method: "peer"}, "tell who it is", func() (change, error) {
		return change{apply: func() error { return nil }}, nil
	})
	if err != nil {
		return "", err
	}
	return h.peer(), nil
}

func (h *Host) peer() ports.Peer { return ports.Peer(fmt.Sprintf("memory:%d", h.number)) }

// Receive implements ports.Copier. A second reception of an lvol voids the
// first, since the answer to that may have been lost. ErrInvalid for a
// snapshot.
func (h *Host) Receive(ctx context.Context, run ports.Run, uuid string, from ports.Peer) (ports.Address, error) {
	var address ports.Address
	call := Call{Method: "receive", UUID: uuid, Name: h.nameOf(uuid)}
	err := h.carryOut(ctx, call, "receive into "+h.word(uuid), func() (change, error) {
		return change{apply: func() error {
			l, err := h.findWritable(uuid)
			if err != nil {
				return err
			}
			h.void(l.reception, errWithdrawn)
			h.opened++
			l.reception = &reception{id: h.opened, run: run, from: from, into: l, copies: make(map[*operation]struct{})}
			h.receptions[h.opened] = l.reception
			address = ports.Address(fmt.Sprintf(addressFormat, h.number, h.opened))
			return nil
		}}, nil
	})
	if err != nil {
		return "", err
	}
	return address, nil
}

// Withdraw implements ports.Copier. What was being copied is free again when it
// returns.
func (h *Host) Withdraw(ctx context.Context, run ports.Run, uuid string) error {
	var ends []*operation
	call := Call{Method: "withdraw", UUID: uuid, Name: h.nameOf(uuid)}
	err := h.carryOut(ctx, call, "withdraw "+h.word(uuid), func() (change, error) {
		return change{apply: func() error {
			if l, ok := h.lvols[uuid]; ok {
				ends = h.void(l.reception, errWithdrawn)
			}
			return nil
		}}, nil
	})
	if err == nil {
		awaitEnd(ctx, ends)
	}
	return err
}

func awaitEnd(ctx context.Context, operations []*operation) {
	for _, op := range operations {
		select {
		case <-op.over:
		case <-ctx.Done():
		}
	}
}

// Release implements ports.Copier: receptions and open bytes of that replica's
// runs end, and copies that this host sends for them.
func (h *Host) Release(ctx context.Context, run ports.Run) error {
	return h.endRuns(ctx, run, run.SameReplica)
}

// End implements ports.Ender. To Inject it is a release, too.
func (h *Host) End(ctx context.Context, run ports.Run) error {
	return h.endRuns(ctx, run, func(other ports.Run) bool { return other == run })
}

func (h *Host) endRuns(ctx context.Context, run ports.Run, which func(ports.Run) bool) error {
	var ends []*operation
	err := h.carryOut(ctx, Call{Method: "release"}, "release runs of "+run.Replica, func() (change, error) {
		return change{apply: func() error {
			for _, r := range h.receptions {
				if which(r.run) {
					ends = append(ends, h.void(r, errReleased)...)
				}
			}
			for o := range h.openings {
				if which(o.run) {
					h.end(o, errReleased)
				}
			}
			for op := range h.operations {
				if op.sends && which(op.run) {
					op.stop(errReleased)
					ends = append(ends, op)
				}
			}
			return nil
		}}, nil
	})
	if err == nil {
		awaitEnd(ctx, ends)
	}
	return err
}

// void ends a reception; nil is none. The copies into it end in a moment.
func (h *Host) void(r *reception, reason error) (ends []*operation) {
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
