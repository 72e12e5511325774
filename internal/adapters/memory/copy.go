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
		err = h.answer(fault, h.copy(ctx, run, snapshot, to, progress, fault))
	}
	return h.failed(what, err)
}

func (h *Host) copy(ctx context.Context, run ports.Run, snapshot string, to ports.Address, progress ports.Progress, fault Fault) error {
	if fault.Before != nil && fault.AfterClusters == 0 && fault.Delay == 0 {
		return fault.Before
	}
	s, err := h.beginCopy(run, snapshot, to)
	if err != nil {
		return err
	}
	s.fault, s.progress = fault, progress
	return s.watched(ctx)
}

// sending is a copy that has begun.
type sending struct {
	from     *Host
	op       *operation
	own      map[uint64]cluster // the snapshot's, which never change
	clusters uint64             // that the snapshot is long
	receiver *Host
	id       uint64          // of the reception
	orphaned <-chan struct{} // closed when nobody waits for the copy any more
	fault    Fault
	progress ports.Progress
}

func (h *Host) beginCopy(run ports.Run, snapshot string, to ports.Address) (*sending, error) {
	source, own, op, err := h.lockSource(run, snapshot)
	if err != nil {
		return nil, err
	}
	receiver, id, err := h.fabric.receiver(to)
	if err == nil {
		err = receiver.join(id, h.peer(), source.size, op)
	}
	if err != nil {
		h.unlock(op)
		return nil, err
	}
	return &sending{
		from: h, op: op, own: own, clusters: source.size / h.config.ClusterSize,
		receiver: receiver, id: id, orphaned: h.orphanage(),
	}, nil
}

// push writes the clusters.
func (s *sending) push(ctx context.Context) error {
	defer s.from.unlock(s.op)
	defer s.receiver.leave(s.id, s.op)
	clusterSize := s.from.config.ClusterSize
	order, own := s.fault.Spoil.of(s.own, s.clusters)
	total := uint64(len(s.own))
	pause := s.fault.Delay / time.Duration(max(len(order), 1))
	if len(order) == 0 {
		if err := s.op.wait(ctx, pause); err != nil {
			return err
		}
	}
	s.tell(0, total)
	for n, i := range order {
		if err := s.op.wait(ctx, pause); err != nil {
			return err
		}
		if s.fault.Before != nil && uint64(n) == s.fault.AfterClusters {
			return s.fault.Before
		}
		if err := s.receiver.pace(ctx, s.id, s.op, clusterSize); err != nil {
			return err
		}
		if err := s.receiver.take(s.id, s.op, i, own[i], clusterSize); err != nil {
			return err
		}
		s.from.account(s.receiver)
		s.tell(min(uint64(n)+1, total), total)
	}
	return s.fault.Before
}

// tell tells how far the copy is, if somebody wants to know.
func (s *sending) tell(done, total uint64) {
	select {
	case <-s.orphaned:
	default:
		if s.progress != nil && !s.fault.Unwatched {
			s.progress(done, total)
		}
	}
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
