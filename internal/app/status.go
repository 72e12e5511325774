package app

import "time"

// Phase is the phase of a Job.
type Phase string

// The phases.
const (
	PhaseQueued  Phase = "queued"
	PhasePaused  Phase = "paused" // until Job.Resume
	PhaseRunning Phase = "running"
	PhasePausing Phase = "pausing" // it stops and cleans up, then it waits for Job.Resume
	PhaseEnded   Phase = "ended"
)

// Status is the state of a Job at one moment.
type Status struct {
	ID          string // 8 hex digits
	Volume      string
	Source      string // replica; the first of several
	MoreSources []string
	Destination string // replica
	Mode        string // "fast" or "full"
	Phase       Phase
	Position    int    // queued and paused: among the waiting jobs, from 1 on; otherwise 0
	WaitsFor    string // queued: the reason

	Submitted, Began, Ended time.Time // zero: not yet; Began is the start of the last run

	Last Event // the newest, with bytes, rate and time left; zero before the first run

	Report Report // ended
	Err    error  // ended; nil: complete
}
