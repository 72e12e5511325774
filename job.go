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

// Pause keeps the job from running until Resume. It keeps its position, and jobs behind
// it may pass. A job that runs is ended as by Cancel, cleans up ([PhasePausing]), and is
// then the first of those that wait: a rebuild cannot stand still, so the next run keeps
// the snapshots that are finished and copies the others from the start. A job that
// completes or fails before the pause takes effect has ended. An [ErrRefused] error says
// that it had ended before.
func (j Job) Pause() error { return j.app.Pause() }

// Resume lets a paused job run when its turn comes. A job that is still [PhasePausing]
// runs again after its cleanup. An [ErrRefused] error says that the job has ended.
func (j Job) Resume() error { return j.app.Resume() }

// Move gives a job that waits another position among those that wait: 1 is the first,
// and a number that is too large means the last. It is an [ErrRefused] error if the job
// does not wait or the position is less than 1.
func (j Job) Move(position int) error { return j.app.Move(position) }

// Done returns a channel that is closed when the job has ended.
func (j Job) Done() <-chan struct{} { return j.app.Done() }

// Wait waits until the job ends and returns what [Engine.Rebuild] returned, or the cause
// of ctx if that ends first.
func (j Job) Wait(ctx context.Context) (Report, error) { return j.app.Wait(ctx) }
