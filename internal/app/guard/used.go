package guard

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/app/retry"
)

// While returns the host for the life of used. Calls in progress when it ends fail at once
// with its cause, so that nobody waits for a host that is gone. Later calls are made, for
// cleanup. Copies end by their receiver. nil stays nil.
func (g *Host) While(used context.Context) *Host {
	if g == nil {
		return nil
	}
	return &Host{Host: g.Host, knownProofs: g.knownProofs, used: used}
}

// notUsed is the error of a call whose host is no longer used.
type notUsed struct{ why error }

func (e notUsed) Error() string { return fmt.Sprintf("the host is no longer used: %v", e.why) }
func (e notUsed) Unwrap() error { return e.why }

// Is makes it final for package retry, even if it wraps a temporary error.
func (notUsed) Is(target error) bool { return target == retry.ErrFinal }

// Using returns a context that also ends when the host is no longer used, for waits that
// are no calls of it.
func (g *Host) Using(ctx context.Context) (using context.Context, end func()) {
	if g.used == nil || g.used.Err() != nil {
		return ctx, func() {}
	}
	using, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(g.used, func() { cancel(notUsed{context.Cause(g.used)}) })
	return using, func() { stop(); cancel(nil) }
}

// orNotUsed is the error of a call with a context of Using.
func orNotUsed(using context.Context, err error) error {
	if why := (notUsed{}); err != nil && errors.As(context.Cause(using), &why) {
		return why
	}
	return err
}
