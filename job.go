package rebuild

import (
	"context"

	"github.com/rootgraft/rebuild/internal/app"
)

// Job is one rebuild of a [Queue], which makes them. Two Jobs are equal if they are the
// same rebuild. The methods may be called from several goroutines at once.
type Job struct {
	app *app.Job
}

// ID returns 8 hex digits that no other job of the process has.
func (j Job) ID() string { return j.app.ID() }

// Status returns how far the job is.
func (j Job) Status() Status { return j.app.Status() }

// Cancel ends the job soon, unless it has ended. Finished snapshots stay, and the next
// rebuild of the destination keeps them.
func (j Job) Cancel() { j.app.Cancel() }

// Done returns a channel that is closed when the job has ended.
func (j Job) Done() <-chan struct{} { return j.app.Done() }

// Wait waits until the job ends and returns what [Engine.Rebuild] returned, or the cause
// of ctx if that ends first.
func (j Job) Wait(ctx context.Context) (Report, error) { return j.app.Wait(ctx) }
