package app

import (
	"context"
	"fmt"
	"time"
)

// A wait of a moment is nothing to tell: lvols are busy all the time. One that goes
// on says what is waited for, or a rebuild would seem to hang.
const (
	tellWaitAfter = 2 * time.Second
	tellWaitEvery = 30 * time.Second
)

type tellWait struct{}

// OnWaiting has whatever the engine does with this context tell when it waits for
// what is busy, or for another run of this process, longer than 2 seconds, and then
// every 30 seconds: for what, and how long it has waited. A rebuild with an Observer
// tells that its EventWaiting instead. tell must return soon; it may be called by
// several goroutines at once.
func OnWaiting(ctx context.Context, tell func(text string)) context.Context {
	return context.WithValue(ctx, tellWait{}, tell)
}

// waiting is one wait that somebody may be told of.
type waiting struct {
	tell  func(text string)
	began time.Time
	next  time.Duration // when it is told, after it began
}

func beginWaiting(ctx context.Context) *waiting {
	tell, _ := ctx.Value(tellWait{}).(func(text string))
	return &waiting{tell: tell, began: time.Now(), next: tellWaitAfter}
}

// goesOn tells it if it has taken long enough.
func (w *waiting) goesOn(forWhat string) {
	passed := time.Since(w.began)
	if w.tell == nil || passed < w.next {
		return
	}
	w.next = passed + tellWaitEvery
	w.tell(fmt.Sprintf("for %s now: %s", passed.Round(time.Second), forWhat))
}

// until waits for what comes through the channel, and says for what.
func until[T any](ctx context.Context, forWhat func() string, comes <-chan T) error {
	select {
	case <-comes:
		return nil
	default:
	}
	w := beginWaiting(ctx)
	ticker := time.NewTicker(tellWaitAfter)
	defer ticker.Stop()
	for {
		select {
		case <-comes:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
			w.goesOn(forWhat())
		}
	}
}
