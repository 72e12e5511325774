package app

import "time"

// Phase is what a Job does.
type Phase string

// The phases.
const (
	PhaseQueued  Phase = "queued"
	PhasePaused  Phase = "paused" // it waits for Job.Resume
	PhaseRunning Phase = "running"
	PhasePausing Phase = "pausing" // it still runs, cleans up, and waits again then
	PhaseEnded   Phase = "ended"
)

// Status is what is known of a Job at a moment. It is there from the first
// moment on.
type Status struct {
	ID          string // 8 hex digits
	Volume      string
	Source      string // replica, of several the first
	MoreSources []string
	Destination string // replica
	Mode        string // "fast" or "full"
	Phase       Phase
	Position    int    // queued and paused: among those that wait, from 1 on; 0 otherwise
	WaitsFor    string // queued: in words

	Submitted, Began, Ended time.Time // zero: not yet; Began is the last time that it did

	Last Event // the newest; bytes, rate and time left are in it. None before it runs for the first time

	Report Report // ended
	Err    error  // ended; nil: complete
}
