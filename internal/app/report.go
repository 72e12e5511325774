package app

import (
	"errors"
	"fmt"
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
	OutcomeFailed   Outcome = "failed"  // finished snapshots are kept; run it again
)

// ended returns the outcome of a run, and its error with what it was doing if it failed.
func ended(doing string, err error, changed bool) (Outcome, error) {
	switch {
	case err == nil:
		return OutcomeComplete, nil
	case errors.Is(err, ErrRefused) && !changed:
		return OutcomeRefused, err
	case errors.Is(err, ErrRefused):
		err = &refusedLate{err}
	}
	return OutcomeFailed, fmt.Errorf("%s: %w", doing, err)
}

// Report is the result of a rebuild. After a failure it has everything known up to then.
type Report struct {
	Outcome Outcome
	Plan    domain.Plan // the last plan

	Source, Destination domain.Replica // as last listed

	SourceViews, DestinationViews Views // if Request.Views is set

	Violations  []domain.Violation // of the destination
	Warnings    []string
	Notices     []string          // facts worth knowing that are no faults
	Deleted     []domain.Deletion // previous lvols of the destination that were deleted
	CopiedBytes uint64            // between hosts, including the backing image
	Duration    time.Duration

	Online *OnlineReport // of a rebuild under a live volume

	Sources []SourceReport // of each source, if the request has several
}

// OnlineReport tells of a rebuild under a live volume.
type OnlineReport struct {
	Cut     string          // the snapshot's name, without the replicas'; "": the volume was not cut
	Frozen  time.Duration   // how long the clients were stopped at most: from the call that stops them to the end of the one that lets them go on; of several freezes the longest
	Freezes int             // how many there were
	Members []domain.Member // at the end, as far as known

	// LastSeen: the mirror did not list its members at the end; they are those of before.
	LastSeen bool
	// Replicas are the members' replicas and lvstores, for people, by the UUIDs of the heads. It
	// has those that the run knows.
	Replicas map[string]string
}

// SourceState is the role of a source at the end of a rebuild.
type SourceState string

// The states of sources.
const (
	SourcePrimary    SourceState = "primary"     // the last plan was made from it
	SourceSecondary  SourceState = "secondary"   // it served copies, or was ready to
	SourcePassedOver SourceState = "passed-over" // it is damaged or incomplete, or the destination cannot receive from it
	SourceLost       SourceState = "lost"        // it failed during the rebuild
)

// SourceReport describes the part of one of several sources in a rebuild.
type SourceReport struct {
	Replica     string
	Lvstore     string // "" if its host was never listed
	State       SourceState
	Reason      string   // why it was passed over or lost; otherwise ""
	Snapshots   []string // copied from it, in the order in which the copies ended; "" is the backing image
	CopiedBytes uint64   // of these copies; unfinished ones do not count
}

// ErrCleanUp marks errors after which something of a run may be left on a host. The next
// run removes it.
var ErrCleanUp = executor.ErrCleanUp
