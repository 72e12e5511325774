package retry

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Short waits are not reported: lvols are busy all the time. A long wait without a report
// would look like a hang.
const (
	tellWaitAfter = 2 * time.Second
	tellWaitEvery = 30 * time.Second
)

type tellWait struct{}

// OnWaiting returns a context whose operations report long waits to tell: waits for
// something busy, or for another run of this process, after 2 seconds and then every 30
// seconds. The text says what is waited for and since when. tell must return soon; several
// goroutines may call it at once.
func OnWaiting(ctx context.Context, tell func(text string)) context.Context {
	return context.WithValue(ctx, tellWait{}, tell)
}

// waiting is one wait that may be reported.
type waiting struct {
	tell  func(text string)
	began time.Time
	next  time.Duration // time of the next report, since began
}

func beginWaiting(ctx context.Context) *waiting {
	tell, _ := ctx.Value(tellWait{}).(func(text string))
	return &waiting{tell: tell, began: time.Now(), next: tellWaitAfter}
}

// tellIfLong reports the wait if it takes long.
func (w *waiting) tellIfLong(forWhat string) {
	passed := time.Since(w.began)
	if w.tell == nil || passed < w.next {
		return
	}
	w.next = passed + tellWaitEvery
	w.tell(fmt.Sprintf("for %s now: %s", passed.Round(time.Second), forWhat))
}

// While calls wait, and reports the wait if it takes long. forWhat describes it for
// people.
func While(ctx context.Context, forWhat func() string, wait func() error) error {
	w := beginWaiting(ctx)
	if w.tell == nil {
		return wait()
	}
	over := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		ticker := time.NewTicker(tellWaitAfter)
		defer ticker.Stop()
		for {
			select {
			case <-over:
				return
			case <-ticker.C:
				w.tellIfLong(forWhat())
			}
		}
	})
	defer telling.Wait()
	defer close(over)
	return wait()
}
