package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Copy implements ports.Copier: cluster by cluster, in ascending order. It locks the
// snapshot, not the lvol that it writes into. ErrUnavailable if the address is or
// becomes invalid.
func (h *Host) Copy(ctx context.Context, run ports.Run, snapshot string, to ports.Address, progress ports.Progress) error {
	what := fmt.Sprintf("copy %s to %s", h.nameOrUUID(snapshot), to)
	fault, err := h.admit(ctx, h.onLvol("copy", snapshot))
	if err == nil {
		s := &sending{from: h, fault: fault, progress: progress}
		if fault.Before != nil && fault.AfterClusters == 0 && fault.Delay == 0 {
			err = fault.Before
		} else if err = s.begin(run, snapshot, to); err == nil {
			err = s.run(ctx)
		}
		err = h.answer(fault, err)
	}
	return h.wrap(what, err)
}

// sending is a copy that has begun.
type sending struct {
	from     *Host
	op       *operation
	own      map[uint64]cluster // of the snapshot; they never change
	clusters uint64             // length of the snapshot
	receiver *Host
	id       uint64          // of the reception
	orphaned <-chan struct{} // closed when the engine that waits for the copy has ended
	fault    Fault
	progress ports.Progress
}

// begin locks the snapshot and joins the reception.
func (s *sending) begin(run ports.Run, snapshot string, to ports.Address) error {
	source, own, op, err := s.from.lockSource(run, snapshot)
	if err != nil {
		return err
	}
	s.op, s.own, s.clusters = op, own, source.size/s.from.config.ClusterSize
	if s.receiver, s.id, err = s.from.fabric.receiver(to); err == nil {
		err = s.connected()
	}
	if err == nil {
		err = s.receiver.join(s.id, s.from.peer(), source.size, op)
	}
	if err != nil {
		s.from.unlock(op)
		return err
	}
	s.orphaned = s.from.orphanSignal()
	return nil
}

// push writes the clusters.
func (s *sending) push(ctx context.Context) error {
	defer s.from.unlock(s.op)
	defer s.receiver.leave(s.id, s.op)
	clusterSize := s.from.config.ClusterSize
	order, own := s.fault.Spoil.apply(s.own, s.clusters)
	total := uint64(len(s.own))
	pause := s.fault.Delay / time.Duration(max(len(order), 1))
	if len(order) == 0 {
		if err := s.op.wait(ctx, pause); err != nil {
			return err
		}
	}
	s.report(0, total)
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
		if err := s.connected(); err != nil {
			return err
		}
		if err := s.receiver.writeCluster(s.id, s.op, i, own[i], clusterSize); err != nil {
			return err
		}
		s.from.countBytes(s.receiver)
		s.report(min(uint64(n)+1, total), total)
	}
	return s.fault.Before
}

// connected returns an error if the hosts do not reach each other.
func (s *sending) connected() error {
	if s.from != s.receiver && !(s.from.reachable() && s.receiver.reachable()) {
		return errCutOff
	}
	return nil
}

// report calls progress, unless nobody waits for the copy any more.
func (s *sending) report(done, total uint64) {
	select {
	case <-s.orphaned:
	default:
		if s.progress != nil && !s.fault.Unwatched {
			s.progress(done, total)
		}
	}
}

// lockSource finds the snapshot and locks it. Its size and its own clusters never change
// and can be read without the mutex.
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

// join adds a copy from that peer, of a snapshot of size bytes, to a reception.
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

// writeCluster writes one cluster of a copy, clusterSize bytes of the sender's, at its
// offset.
func (h *Host) writeCluster(id uint64, op *operation, i uint64, content cluster, clusterSize uint64) error {
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

func (h *Host) countBytes(receiver *Host) {
	if receiver == h {
		h.copiedLocally.Add(h.config.ClusterSize)
		return
	}
	h.sent.Add(h.config.ClusterSize)
	receiver.received.Add(h.config.ClusterSize)
}
