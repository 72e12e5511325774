package app

import (
	"time"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
)

// Outcome is how a rebuild ended.
type Outcome string

// The outcomes.
const (
	OutcomeComplete Outcome = "complete"
	OutcomeRefused  Outcome = "refused" // nothing was changed
	OutcomeFailed   Outcome = "failed"  // what was finished is kept; run again
)

// Report is what came of a rebuild. It is there after a failure, too, with
// what was known by then.
type Report struct {
	Outcome Outcome
	Plan    domain.Plan // the last one

	Source, Destination domain.Replica // as last seen

	SourceViews, DestinationViews Views // where views were asked for

	Violations  []domain.Violation // of the destination
	Warnings    []string
	Notices     []string          // what is no fault, but worth knowing
	Deleted     []domain.Deletion // the destination's lvols that were there before, as far as they are gone
	CopiedBytes uint64            // payload that crossed from host to host, the image's included
	Duration    time.Duration

	Sources []SourceReport // what each was good for, where the request names several
}

// SourceState is what a source was to a rebuild, at its end.
type SourceState string

// The states of sources.
const (
	SourcePrimary    SourceState = "primary"     // the last plan was made from it
	SourceSecondary  SourceState = "secondary"   // it could serve copies
	SourcePassedOver SourceState = "passed-over" // it is hurt or not whole, or cannot be copied from to the destination
	SourceLost       SourceState = "lost"        // it has failed, and was not used any more
)

// SourceReport is what one of several sources was good for.
type SourceReport struct {
	Replica     string
	Lvstore     string // "" where its host was never seen
	State       SourceState
	Reason      string   // passed over or lost: why
	Snapshots   []string // whose copies it has served, in the order in which these ended; "" is the backing image
	CopiedBytes uint64   // of these copies; what it served of one that did not end is not counted
}

// ErrCleanUp marks errors after which something of a run may be left on a host. The next
// run removes it.
var ErrCleanUp = executor.ErrCleanUp
