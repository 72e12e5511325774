package app

import (
	"time"

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
	CopiedBytes uint64 // payload that crossed from host to host, the image's included
	Duration    time.Duration
}
