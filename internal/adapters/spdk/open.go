package spdk

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Open implements ports.Opener: the lvol becomes a namespace of a subsystem of
// the run's that only this process may connect to, and is read and written over
// NVMe/TCP in user space. That works within one machine and needs no kernel
// initiator, and no attach: the target is never attached to itself.
//
// A namespace claims its lvol, so what is exported already, is a RAID's base or
// is copied into is ErrBusy.
func (h *Host) Open(ctx context.Context, run ports.Run, uuid string) (ports.Bytes, error) {
	b, err := h.openBytes(ctx, run, uuid)
	if err != nil {
		return nil, h.store.Failed(err, "open lvol %s", uuid)
	}
	return b, nil
}

func (h *Host) openBytes(ctx context.Context, run ports.Run, uuid string) (*openBytes, error) {
	if err := checkRun(run); err != nil {
		return nil, err
	}
	l, err := h.store.Find(ctx, uuid)
	if err != nil {
		return nil, err
	}
	if l.Claimed {
		return nil, fmt.Errorf("%s is in use: a RAID, an export or a copy has claimed it: %w", l.LvolName(), ports.ErrBusy)
	}
	b := &openBytes{
		ctx: ctx, host: h, run: run, uuid: uuid, name: l.LvolName(),
		size: l.Size(), cluster: h.store.ClusterSize, readOnly: l.ReadOnly(), nguid: newNGUID(),
	}
	for attempt := 0; ; attempt++ {
		if err := h.reserveOpening(ctx, b); err != nil {
			return nil, err
		}
		err := h.addNamespace(ctx, b.subsystem.nqn, address{Lvol: uuid, NSID: b.nsid, NGUID: b.nguid})
		if err == nil {
			break
		}
		if rpc.OutcomeUnknown(err) { // it may be there
			b.abandon()
			return nil, err
		}
		h.forgetOpening(b)
		retry, err := h.whyNot(ctx, run, uuid, b.subsystem, err)
		if !retry || attempt > 0 {
			return nil, err
		}
	}
	if err := b.connect(ctx); err != nil {
		b.abandon()
		return nil, fmt.Errorf("%w: %w", ports.ErrUnavailable, err)
	}
	return b, nil
}

// reserveOpening finds a namespace of the run's subsystem that serves the
// engine, which is not the one that peers copy into.
func (h *Host) reserveOpening(ctx context.Context, b *openBytes) error {
	unlock, err := h.locks.take(ctx, lockOf(b.run))
	if err != nil {
		return err
	}
	defer unlock()
	state := h.run(b.run)
	h.mu.Lock()
	sub := state.opens
	if sub != nil && sub.nsids == namespacesOf {
		sub = nil
	}
	h.mu.Unlock()
	if sub == nil {
		if sub, err = h.newSubsystem(ctx, b.run, state, h.engineNQN); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	state.opens = sub
	sub.nsids++
	sub.live++
	b.subsystem, b.nsid = sub, sub.nsids
	state.opened[b] = struct{}{}
	return nil
}

// forgetOpening reports whether it was the run's still, and whether the
// subsystem is of no more use.
func (h *Host) forgetOpening(b *openBytes) (was, usedUp bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	state := h.runs[b.run]
	if state == nil {
		return false, false
	}
	if _, was = state.opened[b]; !was {
		return false, false
	}
	delete(state.opened, b)
	b.subsystem.live--
	return true, b.subsystem != state.opens && b.subsystem.live == 0
}

// endOpenings ends the bytes that runs have opened, before their subsystems go.
// The run's lock must be held.
func (h *Host) endOpenings(which func(ports.Run) bool) {
	var sessions []*nvmetcp.Session
	h.mu.Lock()
	for run, state := range h.runs {
		if !which(run) {
			continue
		}
		for b := range state.opened {
			b.subsystem.live--
			sessions = append(sessions, b.session)
		}
		clear(state.opened)
		state.opens = nil
	}
	h.mu.Unlock()
	for _, s := range sessions {
		if s != nil {
			_ = s.Close() // never fails
		}
	}
}

// connect begins a session of its own for each lvol that is opened: what ends
// one session, a context or a command that hangs, ends no other.
func (b *openBytes) connect(ctx context.Context) error {
	at := b.host.listen.at(b.subsystem.port)
	session, err := nvmetcp.Dial(ctx, nvmetcp.Config{
		Address: net.JoinHostPort(at.Traddr, at.Trsvcid),
		NQN:     b.subsystem.nqn,
		HostNQN: b.host.engineNQN,
		Timeout: b.host.rpc.Timeout,
	})
	if err != nil {
		return err
	}
	b.host.mu.Lock()
	b.session = session
	b.host.mu.Unlock()
	b.namespace, err = session.Namespace(ctx, b.nsid)
	if err != nil {
		return err
	}
	nguid := b.namespace.NGUID()
	if got := hex.EncodeToString(nguid[:]); got != b.nguid || b.namespace.Size() != b.size {
		return fmt.Errorf("namespace %d of %s has NGUID %s and %d bytes instead of %s and %d: it is another lvol's",
			b.nsid, b.subsystem.nqn, got, b.namespace.Size(), b.nguid, b.size)
	}
	return nil
}

// Close implements ports.Bytes.
func (b *openBytes) Close() error {
	return b.host.store.Failed(b.giveBack(), "close lvol %s", b.name)
}

// abandon gives back what could not be opened.
func (b *openBytes) abandon() {
	if err := b.giveBack(); err != nil {
		b.host.log.Warn("a namespace stays until the run is released", zap.String("nqn", b.subsystem.nqn), zap.Error(err))
	}
}

func (b *openBytes) giveBack() error {
	was, usedUp := b.host.forgetOpening(b)
	if b.session != nil {
		_ = b.session.Close() // never fails
	}
	if !was {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), tidyFor)
	defer cancel()
	err := b.host.removeNamespace(ctx, b.subsystem.nqn, b.nsid)
	if usedUp {
		b.host.closeSubsystem(ctx, b.host.run(b.run), b.subsystem)
	}
	return err
}

// why gives what failed the kind of the port. A store that is full says no more
// than that the command failed.
func (b *openBytes) why(err error, write bool) error {
	var refusal *nvmetcp.StatusError
	if write && errors.As(err, &refusal) {
		if b.host.rpc.IsFull(b.ctx, b.host.store.UUID) {
			return fmt.Errorf("%w: %w", ports.ErrNoSpace, err)
		}
	}
	return fmt.Errorf("%w: %w", ports.ErrUnavailable, err)
}

// newEngineNQN is whom a Host connects as. Nobody else knows it, so nobody else is
// let into what it opens.
func newEngineNQN() string {
	uuid, _ := address{NGUID: newNGUID()}.bdevOf() // 32 hex digits
	return "nqn.2014-08.org.nvmexpress:uuid:" + strings.ToLower(uuid)
}
