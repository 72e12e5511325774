package spdk

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// sending is a copy that this host has started.
type sending struct {
	operation uint32
	conn      uint64 // the connection that it was started over
	watched   bool   // a call of Copy asks for its status, which is handed out once
}

// Copy implements ports.Copier, by a shallow copy.
//
// SPDK cannot stop one. When the context ends, Copy returns at once, and what
// ends the copy is Withdraw at the destination: it removes the namespace. Until
// then the snapshot is busy, and Delete and another Copy of it say so.
//
// A destination that ran full says no more than "Input/output error"; see
// nvmf.Exports.IsFull.
func (h *Host) Copy(ctx context.Context, run ports.Run, snapshot string, to ports.Address, progress ports.Progress) error {
	return h.store.Failed(h.copy(ctx, run, snapshot, to, progress), "copy snapshot %s", snapshot)
}

func (h *Host) copy(ctx context.Context, run ports.Run, snapshot string, to ports.Address, progress ports.Progress) error {
	where, err := h.exports.ParseAddress(to)
	if err != nil {
		return err
	}
	if err := h.claimSource(ctx, snapshot); err != nil {
		return err
	}
	bdev, done, err := h.exports.Destination(ctx, run, where)
	if err != nil {
		h.unclaimSource(snapshot)
		return err
	}
	defer done()
	started, err := h.startCopy(ctx, snapshot, bdev, where.Remote != nil)
	if err != nil {
		h.unclaimSource(snapshot)
		if errors.Is(err, ports.ErrUnavailable) {
			h.exports.Doubt(run, where)
		}
		return err
	}
	h.mu.Lock()
	h.copies[snapshot] = started
	h.mu.Unlock()

	err = h.watch(ctx, started, progress)
	if errors.Is(err, errStillCopying) || rpc.OutcomeUnknown(err) {
		h.mu.Lock()
		started.watched = false
		h.copies[snapshot] = started
		h.mu.Unlock()
		return err
	}
	h.unclaimSource(snapshot)
	if refusedCopy(err, syscall.EIO) && h.exports.IsFull(ctx, where, bdev) {
		return rpc.WithKind(ports.ErrNoSpace, err)
	}
	return err
}

// claimSource makes sure that no copy of the snapshot goes on that this host
// has started: the status of a second one says so only later, and a delete
// meanwhile hides the snapshot.
func (h *Host) claimSource(ctx context.Context, snapshot string) error {
	if err := h.notCopied(ctx, snapshot); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, copied := h.copies[snapshot]; copied {
		return fmt.Errorf("it is being copied: %w", ports.ErrBusy)
	}
	h.copies[snapshot] = sending{watched: true}
	return nil
}

func (h *Host) unclaimSource(snapshot string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.copies, snapshot)
}

// notCopied is ErrBusy while a copy of the snapshot goes on that this host has
// started, also one that its caller has given up.
func (h *Host) notCopied(ctx context.Context, snapshot string) error {
	h.mu.Lock()
	one, copied := h.copies[snapshot]
	h.mu.Unlock()
	if !copied {
		return nil
	}
	if !one.watched {
		over, err := h.isOver(ctx, one)
		if err != nil {
			return err
		}
		if over {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.copies[snapshot] == one {
				delete(h.copies, snapshot)
			}
			return nil
		}
	}
	return fmt.Errorf("it is being copied: %w", ports.ErrBusy)
}

// isOver asks for the status of a copy that nobody watches. A target that has
// restarted copies nothing any more, and numbers anew: the operation would be
// somebody else's. Whether it has is not known when the connection broke, so the
// copy is taken for over then; Delete and Copy find out otherwise if it is not.
func (h *Host) isOver(ctx context.Context, one sending) (bool, error) {
	if h.rpc.ConnectionNumber() != one.conn {
		return true, nil
	}
	status, _, err := h.checkCopy(ctx, one)
	if errors.Is(err, ports.ErrNotFound) {
		return true, nil
	}
	return err == nil && status.State != helpertypes.ShallowCopyStateInProgress, err
}

func (h *Host) checkCopy(ctx context.Context, one sending) (spdktypes.ShallowCopyStatus, uint64, error) {
	ask := rpc.CheckShallowCopy(one.operation)
	h.rpc.Do(ctx, ask)
	return ask.Result, ask.Connection(), ask.Err
}

// appearFor is how long a new namespace may take to appear as a bdev.
const appearFor = 2 * time.Second

// startCopy begins. A namespace that was just added may not be a bdev yet, or
// not be writable yet; the target refuses then with these two words.
func (h *Host) startCopy(ctx context.Context, snapshot, bdev string, remote bool) (sending, error) {
	wait := rpc.BackOff{Pause: 2 * time.Millisecond, Longest: 50 * time.Millisecond, Until: time.Now().Add(appearFor)}
	for {
		start := rpc.StartShallowCopy(snapshot, bdev)
		h.rpc.Do(ctx, start)
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

// errStillCopying: the caller has given up, the target has not.
var errStillCopying = errors.New("the target copies on until the destination is withdrawn")

// copyError is what a copy ended with.
type copyError struct {
	errno syscall.Errno
	text  string
	kind  error
}

func (e *copyError) Error() string { return "the copy ended with: " + e.text }
func (e *copyError) Unwrap() error { return e.kind }

func refusedCopy(err error, errno syscall.Errno) bool {
	var ended *copyError
	return errors.As(err, &ended) && ended.errno == errno
}

// Between two looks at a copy.
const (
	firstPoll   = 2 * time.Millisecond
	longestPoll = 250 * time.Millisecond
)

// pace is how long to wait until the next look: longer and longer, but no longer
// than half of what is left at the rate so far, so that the end of a copy is
// noticed soon, how long ever it took.
func pace(last, passed time.Duration, done, total uint64) time.Duration {
	next := min(2*last, longestPoll)
	if done > 0 && done <= total {
		left := time.Duration(float64(passed) * float64(total-done) / float64(done))
		next = min(next, left/2)
	}
	return max(next, firstPoll)
}

// watch asks how far the copy is until it is over.
func (h *Host) watch(ctx context.Context, one sending, progress ports.Progress) error {
	wait := rpc.BackOff{Pause: firstPoll, Longest: longestPoll}
	began := time.Now()
	var told uint64
	begun := false
	silentSince := time.Time{}
	for {
		status, conn, err := h.checkCopy(ctx, one)
		switch {
		case ctx.Err() != nil && err != nil:
			return stillCopying(ctx)
		case rpc.IsGone(err):
			return err
		case rpc.OutcomeUnknown(err):
			// The copy does not need the connection. But an end that is lost
			// is lost: after a while nobody will tell.
			if silentSince.IsZero() {
				silentSince = time.Now()
			}
			if time.Since(silentSince) > h.rpc.Timeout {
				return err
			}
		case errors.Is(err, ports.ErrNotFound):
			return rpc.WithKind(ports.ErrUnavailable, fmt.Errorf("the end of the copy was told to somebody else, or the target has restarted: %w", err))
		case err != nil:
			return err
		default:
			silentSince = time.Time{}
			if status.State != helpertypes.ShallowCopyStateInProgress && conn != one.conn {
				// Operations are numbered anew by a target that has restarted:
				// this may be the end of another copy.
				return fmt.Errorf("the connection broke during the copy, whose end is not known: %w", ports.ErrUnavailable)
			}
			if progress != nil && status.State != helpertypes.ShallowCopyStateError && (!begun || status.CopiedClusters != told) {
				begun, told = true, status.CopiedClusters
				progress(status.CopiedClusters, status.TotalClusters)
			}
			switch status.State {
			case helpertypes.ShallowCopyStateComplete:
				return nil
			case helpertypes.ShallowCopyStateError:
				return newCopyError(status.Error)
			}
			wait.Pause = pace(wait.Last, time.Since(began), status.CopiedClusters, status.TotalClusters)
		}
		if !wait.Next(ctx) {
			return stillCopying(ctx)
		}
	}
}

func stillCopying(ctx context.Context) error {
	return fmt.Errorf("%w: %w: %w", context.Cause(ctx), errStillCopying, ports.ErrUnavailable)
}

func newCopyError(text string) error {
	e := &copyError{text: text, kind: ports.ErrUnavailable}
	if errno, kind, ok := rpc.Spelled(text); ok {
		e.errno, e.kind = errno, kind
	}
	switch e.errno {
	case syscall.EPERM:
		e.text += " (the source is writable)"
	case syscall.EINVAL:
		e.text += " (the source is longer than the destination)"
	case syscall.ENODEV:
		e.kind = ports.ErrUnavailable // not of the source, which was found
	}
	return e
}
