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

// line is how a process reaches a host. It is what the SPDK adapter is: a call
// that is under way goes on at the target when its caller gives up or dies.
type line struct {
	process *process
	site    *site
}

var (
	_ ports.Host      = (*line)(nil)
	_ ports.Prover    = (*line)(nil)
	_ ports.Recorder  = (*line)(nil)
	_ ports.Merger    = (*line)(nil)
	_ ports.Opener    = (*line)(nil)
	_ ports.Limiter   = (*line)(nil)
	_ ports.Claimer   = (*line)(nil)
	_ ports.Collector = (*line)(nil)
)

const (
	// silence is how long a call waits for a target that hangs.
	silence = 7 * time.Second
	// grace is how long a change is waited for once the context has ended.
	grace = time.Second
)

var errNoAnswer = fmt.Errorf("%w: the target hangs: %w", ports.ErrUnavailable, context.DeadlineExceeded)

// manner is how a call is given up.
type manner int

const (
	look   manner = iota // at once
	change               // after the grace
	copies               // at once; it may take as long as it takes
)

// result is what a call came to.
type result[T any] struct {
	value T
	err   error
}

// over has a call made and waits for the answer, as its manner says.
func over[T any](ctx context.Context, l *line, how manner, call func(ctx context.Context) (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, gaveUp(ctx)
	}
	dies, err := l.process.admit()
	if err != nil {
		return none, err
	}
	answered := make(chan result[T], 1)
	l.process.world.underway.Go(func() {
		defer func() {
			if r := recover(); r != nil {
				l.process.world.broke(fmt.Sprintf("%s: panic: %v\n%s", l.site.name, r, debug.Stack()))
				answered <- result[T]{none, ports.ErrUnavailable}
			}
		}()
		l.site.hold()
		value, err := call(context.WithoutCancel(ctx))
		answered <- result[T]{value, err}
	})
	if dies {
		l.process.die()
	}
	return wait(ctx, l, how, answered)
}

func wait[T any](ctx context.Context, l *line, how manner, answered <-chan result[T]) (T, error) {
	var none T
	done := ctx.Done()
	var patience <-chan time.Time
	if how != copies {
		patience = time.After(silence)
	}
	var late <-chan time.Time
	for {
		hangs := l.site.hangs(patience == nil)
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
		case <-hangs: // and so nobody tells how far the copy is
			patience = time.After(silence)
		case <-patience:
			if how == copies && !l.site.isHanging() {
				patience = nil
				continue
			}
			return none, errNoAnswer
		case <-late:
			return none, gaveUp(ctx)
		case <-done:
			if how != change {
				return none, gaveUp(ctx)
			}
			done, late = nil, time.After(grace)
		}
	}
}

func gaveUp(ctx context.Context) error {
	return fmt.Errorf("%w: %w", ports.ErrUnavailable, context.Cause(ctx))
}

// nothing is a call's value that has none.
type nothing struct{}

func without(do func(ctx context.Context) error) func(ctx context.Context) (nothing, error) {
	return func(ctx context.Context) (nothing, error) { return nothing{}, do(ctx) }
}

// List implements ports.Looker.
func (l *line) List(ctx context.Context) (domain.Listing, error) {
	return over(ctx, l, look, l.site.host.List)
}

// Look implements ports.Looker.
func (l *line) Look(ctx context.Context, uuid string) (domain.Lvol, error) {
	return over(ctx, l, look, func(ctx context.Context) (domain.Lvol, error) { return l.site.host.Look(ctx, uuid) })
}

// Create implements ports.Store.
func (l *line) Create(ctx context.Context, name string, size uint64) (string, error) {
	return over(ctx, l, change, func(ctx context.Context) (string, error) { return l.site.host.Create(ctx, name, size) })
}

// Graft implements ports.Store.
func (l *line) Graft(ctx context.Context, uuid, parent string) error {
	_, err := over(ctx, l, change, without(func(ctx context.Context) error { return l.site.host.Graft(ctx, uuid, parent) }))
	return err
}

// Seal implements ports.Store.
func (l *line) Seal(ctx context.Context, uuid, name string, seal ports.SealRecord) (string, error) {
	heard := l.attentive()
	defer heard.stop()
	if sealed := seal.Sealed; sealed != nil {
		seal.Sealed = func(snapshot string) { heard.tell(func() { sealed(snapshot) }) }
	}
	return over(ctx, l, change, func(ctx context.Context) (string, error) { return l.site.host.Seal(ctx, uuid, name, seal) })
}

// Clone implements ports.Store.
func (l *line) Clone(ctx context.Context, snapshot, name string, size uint64, record string) (string, error) {
	return over(ctx, l, change, func(ctx context.Context) (string, error) {
		return l.site.host.Clone(ctx, snapshot, name, size, record)
	})
}

// Delete implements ports.Store.
func (l *line) Delete(ctx context.Context, uuid string) error {
	_, err := over(ctx, l, change, without(func(ctx context.Context) error { return l.site.host.Delete(ctx, uuid) }))
	return err
}

// Snapshot implements ports.Snapshotter.
func (l *line) Snapshot(ctx context.Context, uuid, name string, attributes domain.Attributes) (string, error) {
	return over(ctx, l, change, func(ctx context.Context) (string, error) {
		return l.site.host.Snapshot(ctx, uuid, name, attributes)
	})
}

// Merge implements ports.Merger.
func (l *line) Merge(ctx context.Context, snapshot string) error {
	_, err := over(ctx, l, change, without(func(ctx context.Context) error { return l.site.host.Merge(ctx, snapshot) }))
	return err
}

// Record implements ports.Recorder.
func (l *line) Record(ctx context.Context, head, record string) error {
	_, err := over(ctx, l, change, without(func(ctx context.Context) error { return l.site.host.Record(ctx, head, record) }))
	return err
}

// Prove implements ports.Prover.
func (l *line) Prove(ctx context.Context, snapshots []string) (map[string]domain.Clusters, error) {
	return over(ctx, l, look, func(ctx context.Context) (map[string]domain.Clusters, error) {
		return l.site.host.Prove(ctx, snapshots)
	})
}

// Limit implements ports.Limiter.
func (l *line) Limit(ctx context.Context, uuid string, rate uint64) error {
	_, err := over(ctx, l, change, without(func(ctx context.Context) error { return l.site.host.Limit(ctx, uuid, rate) }))
	return err
}

// Peer implements ports.Copier.
func (l *line) Peer(ctx context.Context) (ports.Peer, error) {
	return over(ctx, l, look, l.site.host.Peer)
}

// Receive implements ports.Copier.
func (l *line) Receive(ctx context.Context, run ports.Run, uuid string, from ports.Peer) (ports.Address, error) {
	return over(ctx, l, change, func(ctx context.Context) (ports.Address, error) {
		return l.site.host.Receive(ctx, run, uuid, from)
	})
}

// Withdraw implements ports.Copier.
func (l *line) Withdraw(ctx context.Context, run ports.Run, uuid string) error {
	_, err := over(ctx, l, change, without(func(ctx context.Context) error { return l.site.host.Withdraw(ctx, run, uuid) }))
	return err
}

// Copy implements ports.Copier. When the context ends the copy goes on, until
// what it writes into is withdrawn: SPDK cannot stop one.
func (l *line) Copy(ctx context.Context, run ports.Run, snapshot string, to ports.Address, progress ports.Progress) error {
	heard := l.attentive()
	defer heard.stop()
	_, err := over(ctx, l, copies, without(func(ctx context.Context) error {
		return l.site.host.Copy(ctx, run, snapshot, to, func(done, total uint64) {
			if progress != nil {
				heard.tell(func() { progress(done, total) })
			}
		})
	}))
	return err
}

// Release implements ports.Copier.
func (l *line) Release(ctx context.Context, run ports.Run) error {
	_, err := over(ctx, l, change, without(func(ctx context.Context) error { return l.site.host.Release(ctx, run) }))
	return err
}

// Claim implements ports.Claimer.
func (l *line) Claim(ctx context.Context, name string) (release func(), err error) {
	release, err = l.site.host.Claim(ctx, name)
	if err != nil {
		return nil, err
	}
	return l.process.hold(release)
}

// Opened implements ports.Collector.
func (l *line) Opened(ctx context.Context) ([]ports.Opened, error) {
	return over(ctx, l, look, l.site.host.Opened)
}

// Open implements ports.Opener.
func (l *line) Open(ctx context.Context, run ports.Run, uuid string) (ports.Bytes, error) {
	b, err := over(ctx, l, change, func(ctx context.Context) (ports.Bytes, error) { return l.site.host.Open(ctx, run, uuid) })
	if err != nil {
		return nil, err
	}
	return &content{Bytes: b, line: l, ctx: ctx}, nil
}

// content is what a process has opened.
type content struct {
	ports.Bytes

	line *line
	ctx  context.Context //nolint:containedctx // io.ReaderAt takes none
}

// ReadAt implements io.ReaderAt.
func (c *content) ReadAt(p []byte, offset int64) (int, error) {
	read, err := over(c.ctx, c.line, look, func(context.Context) ([]byte, error) {
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
	return over(c.ctx, c.line, change, func(context.Context) (int, error) { return c.Bytes.WriteAt(own, offset) })
}

// Close implements io.Closer. The dead close nothing.
func (c *content) Close() error {
	if _, err := c.line.process.admit(); err != nil {
		return err
	}
	return c.Bytes.Close()
}

// attention is whether a caller still listens.
type attention struct {
	mu   sync.Mutex
	gone bool
	dead <-chan struct{}
}

func (l *line) attentive() *attention { return &attention{dead: l.process.dead} }

func (a *attention) tell(what func()) {
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

func (a *attention) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone = true
}
