package histories

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// connection connects a process to a host. As with the SPDK adapter, a running call goes
// on at the target when its caller gives up or crashes.
type connection struct {
	process *process
	target  *target
}

var (
	_ ports.Host      = (*connection)(nil)
	_ ports.Prover    = (*connection)(nil)
	_ ports.Recorder  = (*connection)(nil)
	_ ports.Merger    = (*connection)(nil)
	_ ports.Renamer   = (*connection)(nil)
	_ ports.Opener    = (*connection)(nil)
	_ ports.Limiter   = (*connection)(nil)
	_ ports.Claimer   = (*connection)(nil)
	_ ports.Collector = (*connection)(nil)
)

const (
	// callTimeout is the timeout of a call to a target that hangs.
	callTimeout = 7 * time.Second
	// grace is the time to wait for a change after the context has ended.
	grace = time.Second
)

var errNoAnswer = fmt.Errorf("%w: the target hangs: %w", ports.ErrUnavailable, context.DeadlineExceeded)

// waitMode says when a call is abandoned.
type waitMode int

const (
	giveUp      waitMode = iota // at once
	waitGrace                   // after the grace
	waitForever                 // at once; it may take as long as it takes
)

// result is what a call came to.
type result[T any] struct {
	value T
	err   error
}

// send makes a call and waits for the answer as its mode says.
func send[T any](ctx context.Context, l *connection, how waitMode, call func(ctx context.Context) (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, gaveUp(ctx)
	}
	dies, err := l.process.admit()
	if err != nil {
		return none, err
	}
	answered := make(chan result[T], 1)
	l.process.world.running.Go(func() {
		defer func() {
			if r := recover(); r != nil {
				l.process.world.failAsync(fmt.Sprintf("%s: panic: %v\n%s", l.target.name, r, debug.Stack()))
				answered <- result[T]{none, ports.ErrUnavailable}
			}
		}()
		l.target.waitWhileHanging()
		value, err := call(context.WithoutCancel(ctx))
		answered <- result[T]{value, err}
	})
	if dies {
		l.process.die()
	}
	return wait(ctx, l, how, answered)
}

func wait[T any](ctx context.Context, l *connection, how waitMode, answered <-chan result[T]) (T, error) {
	var none T
	done := ctx.Done()
	var patience <-chan time.Time
	if how != waitForever {
		patience = time.After(callTimeout)
	}
	var late <-chan time.Time
	for {
		hangs := l.target.hangs(patience == nil)
		select {
		case <-l.process.dead:
			return none, errDied
		case a := <-answered:
			select {
			case <-l.process.dead:
				return none, errDied
			default:
				return a.value, a.err
			}
		case <-hangs: // so there is no progress
			patience = time.After(callTimeout)
		case <-patience:
			if how == waitForever && !l.target.isHanging() {
				patience = nil
				continue
			}
			return none, errNoAnswer
		case <-late:
			return none, gaveUp(ctx)
		case <-done:
			if how != waitGrace {
				return none, gaveUp(ctx)
			}
			done, late = nil, time.After(grace)
		}
	}
}

func gaveUp(ctx context.Context) error {
	return fmt.Errorf("%w: %w", ports.ErrUnavailable, context.Cause(ctx))
}

// noValue is the value of a call that returns only an error.
type noValue struct{}

func noResult(do func(ctx context.Context) error) func(ctx context.Context) (noValue, error) {
	return func(ctx context.Context) (noValue, error) { return noValue{}, do(ctx) }
}

// List implements ports.Looker.
func (l *connection) List(ctx context.Context) (domain.Listing, error) {
	return send(ctx, l, giveUp, l.target.host.List)
}

// Look implements ports.Looker.
func (l *connection) Look(ctx context.Context, uuid string) (domain.Lvol, error) {
	return send(ctx, l, giveUp, func(ctx context.Context) (domain.Lvol, error) { return l.target.host.Look(ctx, uuid) })
}

// Create implements ports.Store.
func (l *connection) Create(ctx context.Context, name string, size uint64) (string, error) {
	return send(ctx, l, waitGrace, func(ctx context.Context) (string, error) { return l.target.host.Create(ctx, name, size) })
}

// Graft implements ports.Store.
func (l *connection) Graft(ctx context.Context, uuid, parent string) error {
	_, err := send(ctx, l, waitGrace, noResult(func(ctx context.Context) error { return l.target.host.Graft(ctx, uuid, parent) }))
	return err
}

// Seal implements ports.Store.
func (l *connection) Seal(ctx context.Context, uuid, name string, seal ports.SealRecord) (string, error) {
	heard := l.newListener()
	defer heard.stop()
	if sealed := seal.Sealed; sealed != nil {
		seal.Sealed = func(snapshot string) { heard.call(func() { sealed(snapshot) }) }
	}
	return send(ctx, l, waitGrace, func(ctx context.Context) (string, error) { return l.target.host.Seal(ctx, uuid, name, seal) })
}

// Clone implements ports.Store.
func (l *connection) Clone(ctx context.Context, snapshot, name string, size uint64, record string) (string, error) {
	return send(ctx, l, waitGrace, func(ctx context.Context) (string, error) {
		return l.target.host.Clone(ctx, snapshot, name, size, record)
	})
}

// Delete implements ports.Store.
func (l *connection) Delete(ctx context.Context, uuid string) error {
	_, err := send(ctx, l, waitGrace, noResult(func(ctx context.Context) error { return l.target.host.Delete(ctx, uuid) }))
	return err
}

// Snapshot implements ports.Snapshotter.
func (l *connection) Snapshot(ctx context.Context, uuid, name string, attributes domain.Attributes) (string, error) {
	return send(ctx, l, waitGrace, func(ctx context.Context) (string, error) {
		return l.target.host.Snapshot(ctx, uuid, name, attributes)
	})
}

// Merge implements ports.Merger.
func (l *connection) Merge(ctx context.Context, snapshot string) error {
	_, err := send(ctx, l, waitGrace, noResult(func(ctx context.Context) error { return l.target.host.Merge(ctx, snapshot) }))
	return err
}

// Rename implements ports.Renamer.
func (l *connection) Rename(ctx context.Context, uuid, name string) error {
	_, err := send(ctx, l, waitGrace, noResult(func(ctx context.Context) error { return l.target.host.Rename(ctx, uuid, name) }))
	return err
}

// Record implements ports.Recorder.
func (l *connection) Record(ctx context.Context, head, record string) error {
	_, err := send(ctx, l, waitGrace, noResult(func(ctx context.Context) error { return l.target.host.Record(ctx, head, record) }))
	return err
}

// Prove implements ports.Prover.
func (l *connection) Prove(ctx context.Context, snapshots []string) (map[string]domain.Clusters, error) {
	return send(ctx, l, giveUp, func(ctx context.Context) (map[string]domain.Clusters, error) {
		return l.target.host.Prove(ctx, snapshots)
	})
}

// Limit implements ports.Limiter.
func (l *connection) Limit(ctx context.Context, uuid string, rate uint64) error {
	_, err := send(ctx, l, waitGrace, noResult(func(ctx context.Context) error { return l.target.host.Limit(ctx, uuid, rate) }))
	return err
}

// Peer implements ports.Copier.
func (l *connection) Peer(ctx context.Context) (ports.Peer, error) {
	return send(ctx, l, giveUp, l.target.host.Peer)
}

// Receive implements ports.Copier.
func (l *connection) Receive(ctx context.Context, run ports.Run, uuid string, from ports.Peer) (ports.Address, error) {
	return send(ctx, l, waitGrace, func(ctx context.Context) (ports.Address, error) {
		return l.target.host.Receive(ctx, run, uuid, from)
	})
}

// Withdraw implements ports.Copier.
func (l *connection) Withdraw(ctx context.Context, run ports.Run, uuid string) error {
	_, err := send(ctx, l, waitGrace, noResult(func(ctx context.Context) error { return l.target.host.Withdraw(ctx, run, uuid) }))
	return err
}

// Copy implements ports.Copier. When the context ends the copy goes on until its lvol is
// withdrawn, since SPDK cannot stop one.
func (l *connection) Copy(ctx context.Context, run ports.Run, snapshot string, to ports.Address, progress ports.Progress) error {
	heard := l.newListener()
	defer heard.stop()
	_, err := send(ctx, l, waitForever, noResult(func(ctx context.Context) error {
		return l.target.host.Copy(ctx, run, snapshot, to, func(done, total uint64) {
			if progress != nil {
				heard.call(func() { progress(done, total) })
			}
		})
	}))
	return err
}

// Release implements ports.Copier.
func (l *connection) Release(ctx context.Context, run ports.Run) error {
	_, err := send(ctx, l, waitGrace, noResult(func(ctx context.Context) error { return l.target.host.Release(ctx, run) }))
	return err
}

// Claim implements ports.Claimer.
func (l *connection) Claim(ctx context.Context, name string) (release func(), err error) {
	release, err = l.target.host.Claim(ctx, name)
	if err != nil {
		return nil, err
	}
	return l.process.holdClaim(release)
}

// Opened implements ports.Collector.
func (l *connection) Opened(ctx context.Context) ([]ports.Opened, error) {
	return send(ctx, l, giveUp, l.target.host.Opened)
}

// Open implements ports.Opener.
func (l *connection) Open(ctx context.Context, run ports.Run, uuid string) (ports.Bytes, error) {
	b, err := send(ctx, l, waitGrace, func(ctx context.Context) (ports.Bytes, error) { return l.target.host.Open(ctx, run, uuid) })
	if err != nil {
		return nil, err
	}
	return &content{Bytes: b, connection: l, ctx: ctx}, nil
}

// content is an lvol that a process has opened.
type content struct {
	ports.Bytes

	connection *connection
	ctx        context.Context //nolint:containedctx // io.ReaderAt takes none
}

// ReadAt implements io.ReaderAt.
func (c *content) ReadAt(p []byte, offset int64) (int, error) {
	read, err := send(c.ctx, c.connection, giveUp, func(context.Context) ([]byte, error) {
		own := make([]byte, len(p)) // the caller may have gone meanwhile
		n, err := c.Bytes.ReadAt(own, offset)
		return own[:n], err
	})
	if err != nil && err != io.EOF { //nolint:errorlint // io.ReaderAt returns it bare
		return 0, err
	}
	return copy(p, read), err
}

// WriteAt implements io.WriterAt.
func (c *content) WriteAt(p []byte, offset int64) (int, error) {
	own := append([]byte(nil), p...)
	return send(c.ctx, c.connection, waitGrace, func(context.Context) (int, error) { return c.Bytes.WriteAt(own, offset) })
}

// Close implements io.Closer. A dead process closes nothing.
func (c *content) Close() error {
	if _, err := c.connection.process.admit(); err != nil {
		return err
	}
	return c.Bytes.Close()
}

// listener passes callbacks on as long as the caller is there.
type listener struct {
	mu   sync.Mutex
	gone bool
	dead <-chan struct{}
}

func (l *connection) newListener() *listener { return &listener{dead: l.process.dead} }

func (a *listener) call(what func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.dead:
	default:
		if !a.gone {
			what()
		}
	}
}

func (a *listener) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone = true
}
