package spdk

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

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
// than half of the time that is left at the rate so far, so that the end of a copy is
// noticed soon.
func pace(last, passed time.Duration, done, total uint64) time.Duration {
	next := min(2*last, longestPoll)
	if done > 0 && done <= total {
		left := time.Duration(float64(passed) * float64(total-done) / float64(done))
		next = min(next, left/2)
	}
	return max(next, firstPoll)
}

// watch asks how far the copy is until it is over.
func (c *copies) watch(ctx context.Context, one sending, progress ports.Progress) error {
	wait := rpc.BackOff{Pause: firstPoll, Longest: longestPoll}
	began := time.Now()
	var told *uint64 // clusters
	silentSince := time.Time{}
	for {
		check := rpc.CheckShallowCopy(one.operation)
		c.client.Do(ctx, check)
		status, err := check.Result, check.Err
		switch {
		case ctx.Err() != nil && err != nil:
			return stillCopying(ctx)
		case rpc.IsGone(err):
			return err
		case rpc.OutcomeUnknown(err):
			// The copy does not need the connection. But if its end was told
			// over the old one, nobody will tell it again.
			if silentSince.IsZero() {
				silentSince = time.Now()
			}
			if time.Since(silentSince) > c.client.Timeout {
				return err
			}
		case errors.Is(err, ports.ErrNotFound):
			return rpc.WithKind(ports.ErrUnavailable, fmt.Errorf("the end of the copy was told to somebody else, or the target has restarted: %w", err))
		case err != nil:
			return err
		default:
			silentSince = time.Time{}
			if status.State != helpertypes.ShallowCopyStateInProgress && check.Connection() != one.conn {
				// Operations are numbered anew by a target that has restarted:
				// this may be the end of another copy.
				return fmt.Errorf("the connection broke during the copy, whose end is not known: %w", ports.ErrUnavailable)
			}
			if status.State == helpertypes.ShallowCopyStateError {
				return newCopyError(status.Error)
			}
			if progress != nil && (told == nil || status.CopiedClusters != *told) {
				told = &status.CopiedClusters
				progress(status.CopiedClusters, status.TotalClusters)
			}
			if status.State == helpertypes.ShallowCopyStateComplete {
				return nil
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
