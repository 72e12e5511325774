package nvmf

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Open exports an lvol to this process, which reads and writes it over NVMe/TCP in user
// space. It needs no kernel initiator and attaches nothing.
func (e *Exports) Open(ctx context.Context, r ports.Run, lvol *rpc.Bdev) (*Bytes, error) {
	b := &Bytes{
		ctx: ctx, exports: e, name: lvol.LvolName(),
		size: lvol.Size(), cluster: e.store.ClusterSize, readOnly: lvol.ReadOnly(),
	}
	ns, err := e.export(ctx,
		func() (*namespace, error) { return e.reserveOpening(ctx, b, r, lvol.UUID) },
		func(*namespace) { e.forgetOpening(b) })
	if err != nil {
		if ns != nil { // it may be there
			b.abandon()
		}
		return nil, err
	}
	if err := b.connect(ctx); err != nil {
		b.abandon()
		return nil, fmt.Errorf("%w: %w", ports.ErrUnavailable, err)
	}
	return b, nil
}

// reserveOpening notes a namespace for the engine.
func (e *Exports) reserveOpening(ctx context.Context, b *Bytes, r ports.Run, lvol string) (*namespace, error) {
	unlock, err := e.lock(ctx, r)
	if err != nil {
		return nil, err
	}
	defer unlock()
	sub, err := e.subsystem(ctx, r, forEngine, e.nqns.engine)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b.namespace = e.nextLocked(r, lvol, sub)
	e.runLocked(r).opened[b] = struct{}{}
	return b.namespace, nil
}

// forgetOpening reports whether the run still had it, and whether the subsystem is of no
// more use.
func (e *Exports) forgetOpening(b *Bytes) (was, usedUp bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ns := b.namespace
	state := e.runs[ns.run]
	if state == nil {
		return false, false
	}
	if _, was = state.opened[b]; !was {
		return false, false
	}
	delete(state.opened, b)
	ns.sub.live--
	return true, ns.sub != state.current[forEngine] && ns.sub.live == 0
}

// endOpenings ends the sessions of runs, before their subsystems go. The run's lock must
// be held.
func (e *Exports) endOpenings(which Runs) {
	var sessions []*nvmetcp.Session
	e.mu.Lock()
	for r, state := range e.runs {
		if !which(r) {
			continue
		}
		for b := range state.opened {
			b.namespace.sub.live--
			sessions = append(sessions, b.session)
		}
		clear(state.opened)
		state.current[forEngine] = nil
	}
	e.mu.Unlock()
	for _, s := range sessions {
		if s != nil {
			_ = s.Close() // never fails
		}
	}
}

// connect begins a session for this lvol alone: a context or a command that hangs ends one
// session and no other.
func (b *Bytes) connect(ctx context.Context) error {
	e, ns := b.exports, b.namespace
	at := e.listen.at(ns.sub.port)
	session, err := nvmetcp.Dial(ctx, nvmetcp.Config{
		Address: net.JoinHostPort(at.Traddr, at.Trsvcid),
		NQN:     ns.sub.nqn,
		HostNQN: e.nqns.engine,
		Timeout: e.rpc.Timeout,
	})
	if err != nil {
		return err
	}
	e.mu.Lock()
	b.session = session
	e.mu.Unlock()
	b.remote, err = session.Namespace(ctx, ns.nsid)
	if err != nil {
		return err
	}
	nguid := b.remote.NGUID()
	if got := hex.EncodeToString(nguid[:]); got != ns.nguid || b.remote.Size() != b.size {
		return fmt.Errorf("namespace %d of %s has NGUID %s and %d bytes instead of %s and %d: it is another lvol's",
			ns.nsid, ns.sub.nqn, got, b.remote.Size(), ns.nguid, b.size)
	}
	return nil
}

// Close implements ports.Bytes.
func (b *Bytes) Close() error {
	return b.exports.store.Failed(b.giveBack(), "close lvol %s", b.name)
}

// abandon ends an export that could not be opened.
func (b *Bytes) abandon() {
	if err := b.giveBack(); err != nil {
		b.exports.log.Warn("a namespace stays until the run is released", zap.String("nqn", b.namespace.sub.nqn), zap.Error(err))
	}
}

func (b *Bytes) giveBack() error {
	e, ns := b.exports, b.namespace
	was, usedUp := e.forgetOpening(b)
	if b.session != nil {
		_ = b.session.Close() // never fails
	}
	if !was {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), tidyFor)
	defer cancel()
	err := e.remove(ctx, ns.sub.nqn, ns.nsid)
	if usedUp {
		e.close(ctx, e.run(ns.run), ns.sub)
	}
	return err
}

// why gives an error its kind. The status of a write does not tell that the store is full.
func (b *Bytes) why(err error, write bool) error {
	var refusal *wire.StatusError
	if write && errors.As(err, &refusal) && b.exports.rpc.IsFull(b.ctx, b.exports.store.UUID) {
		return fmt.Errorf("%w: %w", ports.ErrNoSpace, err)
	}
	return fmt.Errorf("%w: %w", ports.ErrUnavailable, err)
}
