package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Copy implements ports.Copier: cluster by cluster, in ascending order. It
// locks the snapshot, not what it writes into. ErrUnavailable where the
// address is void, or becomes so.
func (h *Host) Copy(ctx context.Context, run ports.Run, snapshot string, to ports.Address, progress ports.Progress) error {
	what := fmt.Sprintf("copy %s to %s", h.word(snapshot), to)
	fault, err := h.admit(ctx, Call{Method: "copy", UUID: snapshot, Name: h.nameOf(snapshot)})
	if err == nil {
		err = h.push(ctx, run, snapshot, to, progress, fault)
		if fault.After != nil {
			err = fault.After
		}
	}
	return h.failed(what, err)
}

func (h *Host) push(ctx context.Context, run ports.Run, snapshot string, to ports.Address, progress ports.Progress, fault Fault) error {
	if fault.Before != nil && fault.AfterClusters == 0 && fault.Delay == 0 {
		return fault.Before
	}
	if progress == nil {
		progress = func(_, _ uint64) {}
	}
	source, own, op, err := h.lockSource(run, snapshot)
	if err != nil {
		return err
	}
	defer h.unlock(op)
	receiver, id, err := h.fabric.receiver(to)
	if err != nil {
		return err
	}
	if err := receiver.join(id, h.peer(), source.size, op); err != nil {
		return err
	}
	defer receiver.leave(id, op)

	order := positions(own)
	total := uint64(len(order))
	pause := fault.Delay / time.Duration(max(total, 1))
	if total == 0 {
		if err := op.wait(ctx, pause); err != nil {
			return err
		}
	}
	progress(0, total)
	for n, i := range order {
		if err := op.wait(ctx, pause); err != nil {
			return err
		}
		if fault.Before != nil && uint64(n) == fault.AfterClusters {
			return fault.Before
		}
		if err := receiver.pace(ctx, id, op, h.config.ClusterSize); err != nil {
			return err
		}
		if err := receiver.take(id, op, i, own[i], h.config.ClusterSize); err != nil {
			return err
		}
		h.account(receiver)
		progress(uint64(n)+1, total)
	}
	return fault.Before
}

// lockSource finds the snapshot and locks it. Its size, and the own clusters
// returned, never change and are read without the mutex from then on.
func (h *Host) lockSource(run ports.Run, snapshot string) (*lvol, map[uint64]cluster, *operation, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	source, err := h.findSnapshot(snapshot)
	if err != nil {
		return nil, nil, nil, err
	}
	c := change{locks: []*lvol{source}}
	if c.busy() {
		return nil, nil, nil, ports.ErrBusy
	}
	op := h.begin(c)
	op.sends, op.run = true, run
	return source, source.own, op, nil
}

func (h *Host) unlock(op *operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.finish(op)
}

// join lets a copy begin: of that peer, of a snapshot of size bytes.
func (h *Host) join(id uint64, from ports.Peer, size uint64, op *operation) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, ok := h.receptions[id]
	switch {
	case !ok:
		return errWithdrawn
	case r.from != from:
		return fmt.Errorf("%s is received from peer %s, not from %s: %w", r.into.name, r.from, from, ports.ErrUnavailable)
	case r.into.size < size:
		return fmt.Errorf("%s has %d bytes, the snapshot %d: %w", r.into.name, r.into.size, size, ports.ErrInvalid)
	}
	r.copies[op] = struct{}{}
	return nil
}

func (h *Host) leave(id uint64, op *operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r, ok := h.receptions[id]; ok {
		delete(r.copies, op)
	}
}

// take writes one cluster of a copy, clusterSize bytes of the sender's, at its
// offset.
func (h *Host) take(id uint64, op *operation, i uint64, content cluster, clusterSize uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, ok := h.receptions[id]
	if !ok {
		op.stop(errWithdrawn)
		return op.reason
	}
	if clusterSize == h.config.ClusterSize {
		return h.put(r.into, i, content)
	}
	bytes := make([]byte, clusterSize)
	content.read(bytes, 0)
	return h.write(r.into, bytes, i*clusterSize)
}

func (h *Host) account(receiver *Host) {
	if receiver == h {
		h.copiedLocally.Add(h.config.ClusterSize)
		return
	}
	h.sent.Add(h.config.ClusterSize)
	receiver.received.Add(h.config.ClusterSize)
}
