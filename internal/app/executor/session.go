package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// session is everything that the run has opened on hosts: exports and connections.
type session struct {
	opened  []int      // sources with something open
	closing chan error // the result of close; nil: not begun
}

// wait waits for the result of close. closing is false if close has not begun.
func (s *session) wait() (err error, closing bool) {
	if s.closing == nil {
		return nil, false
	}
	err = <-s.closing
	s.closing = nil
	return err, true
}

func (s *session) close(ctx context.Context, x *Executor) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CleanUpTime)
	closing := make(chan error, 1)
	s.closing = closing
	calls := x.releases(ctx, retry.Step, x.end, func(at int, err error) error { return x.tolerateSource(OfSource(at, err)) })
	go func() {
		defer cancel()
		closing <- x.atOnce(calls...)
	}()
}

// Open closes what crashed runs of this replica have left open on all hosts. It must
// precede every create: a copy of a crashed engine writes into whatever lvol is received
// under its address next.
func (x *Executor) Open(ctx context.Context) error {
	return x.retry(ctx, "close exports of earlier runs", func() error { return x.open(ctx) })
}

func (x *Executor) open(ctx context.Context) error {
	sweep := func(ctx context.Context, host ports.Host) error { return host.Release(ctx, x.Run.Run) }
	calls := x.releases(ctx, retry.Once, sweep, OfSource)
	if slices.ContainsFunc(x.Plan.Operations, func(o domain.Operation) bool { return o.Verb == domain.VerbCopy }) {
		calls = append(calls, func() error {
			_, err := x.peer(ctx, x.Primary)
			return err
		})
	}
	if !slices.ContainsFunc(x.Plan.Operations, func(o domain.Operation) bool { return o.Stage == domain.StageCut }) {
		calls = append(calls, func() error { x.Prepare(ctx); return nil }) // else the plan ends before that graft
	}
	if err := x.atOnce(calls...); err != nil {
		return fmt.Errorf("close exports of earlier runs: %w", err)
	}
	return nil
}

// lostTime is the most that closing may take on a lost source.
const lostTime = 2 * time.Second

// releases are the calls that end the run on each host, senders first: a sender would try
// to reconnect to a receiver that is gone.
func (x *Executor) releases(ctx context.Context, budget retry.Budget, end func(context.Context, ports.Host) error, failed func(source int, err error) error) []func() error {
	release := func(ctx context.Context, host ports.Host) error {
		return budget.Call(ctx, func() error { return end(ctx, host) })
	}
	var calls []func() error
	for _, at := range x.session.opened {
		calls = append(calls, func() error {
			ctx, source := ctx, x.Sources[at]
			if source.Lost() != nil {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, lostTime)
				defer cancel()
			}
			return failed(at, release(ctx, source.Host))
		})
	}
	return append(calls, func() error { return release(ctx, x.Host) })
}

func (x *Executor) end(ctx context.Context, host ports.Host) error { return End(ctx, host, x.Run.Run) }

// End ends a run on a host: by End if the host is a ports.Ender, otherwise by Release.
func End(ctx context.Context, host ports.Host, run ports.Run) error {
	if ender, ok := ports.As[ports.Ender](host); ok {
		return ender.End(ctx, run)
	}
	return host.Release(ctx, run)
}

// ofSourceInUse marks an error as a source's. An error of a lost source is ignored.
func (x *Executor) ofSourceInUse(at int, err error) error {
	if slices.Contains(used(x.Sources), at) {
		return OfSource(at, err)
	}
	return nil
}

// tolerateSource ignores the error of one of several sources that no longer answers, and
// reports it. At most a connection is left there, for the next run or gc.
func (x *Executor) tolerateSource(failure error) error {
	var of *SourceError
	if !x.several() || !errors.As(failure, &of) {
		return failure
	}
	if x.Sources[of.Source].Lost() == nil {
		x.Sink.LeftOpen(of.Source, of.Err)
	}
	return nil
}
