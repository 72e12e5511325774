package ports

import (
	"context"
	"time"

	"github.com/rootgraft/rebuild/internal/domain"
)

// Journal keeps a history of rebuilds across restarts of the process: for people, and
// as proof of equality on hosts without checksums (domain.Sealing). Correctness does
// not depend on it: a lost entry costs a copy, never data.
type Journal interface {
	// Append adds an entry durably. It may be called from several goroutines at once.
	Append(ctx context.Context, e Entry) error

	// Sealings returns the known copies among the replica's snapshots on the lvstore
	// with that UUID: of each name the newest copy, once for each source that it is
	// known to be a copy of.
	Sealings(ctx context.Context, store, replica string) ([]domain.Sealing, error)
}

// Entry is one event of a run. Exactly one of Began, Sealed and Ended is set.
type Entry struct {
	At      time.Time // UTC
	Run     Run
	Store   string // UUID of the destination's lvstore
	Lvstore string // its name

	Began  *Began
	Sealed *Sealed
	Ended  *Ended
}

// Began is the start of a run.
type Began struct {
	Sources []string // "REPLICA on lvstore NAME"
}

// Sealed is a snapshot that got its final name.
type Sealed struct {
	Snapshot string // its name, without the replica's
	Sealing  domain.Sealing
}

// OutcomeKilled is the outcome of a run whose process ended first. The next process
// that opens the journal records it; nothing else is known of that end.
const OutcomeKilled = "killed"

// Ended is the end of a run.
type Ended struct {
	Outcome     string // complete, refused or failed, or OutcomeKilled
	Error       string // "" if it is complete or was killed
	Image       string // the volume's base (domain.Base.Record): an image's name, "clone:VOLUME@SNAPSHOT", domain.RecordNoBase, or "" for not known
	Full        bool   // everything was copied on request
	Steps       []Decided
	Warnings    []string
	Deleted     []domain.Deletion // of the destination
	CopiedBytes uint64            // from host to host
	Duration    time.Duration
	Served      []Served // one per source, if there were several
}

// Served summarizes the role of one of several sources.
type Served struct {
	Replica     string
	Lvstore     string   // "" if its host was never reached
	State       string   // primary, secondary, passed-over or lost
	Reason      string   // passed-over, lost: why
	Snapshots   []string // that it has served copies of; "" is the backing image
	CopiedBytes uint64
}

// Decided is a step of the run's last plan.
type Decided struct {
	Action   domain.Action
	Snapshot string
	Parent   string // domain.Parent as a string
	Reason   string
	Clusters uint64 // to copy
}
