package scenario

import (
	"fmt"
	"slices"
	"strings"
)

// Fault is something that goes wrong in a run: a call of a port that fails, or a
// process that dies at it.
type Fault struct {
	Call string // a method of a port in small letters, such as copy
	Nth  int    // the how many-th such call on that side in the run; 0: the first
	Side Side   // which host is called; "": where such calls go, and the destination for those that go to both
	Run  int    // 0: the first

	Error FaultError // how the call fails; "" where Crash is given
	Times int        // so many of these calls, one after the other, fail so; 0: one

	Crash Crash // whose process dies at the call; "": nobody's
	After bool  // of a Crash: the call has taken effect, and was not answered
}

// Side is one of the two hosts.
type Side string

// The sides.
const (
	SideSource      Side = "source"
	SideDestination Side = "destination"
)

// Crash is whose process dies.
type Crash string

// Whose process dies.
const (
	// CrashEngine: nothing of its run is cleaned up. What it had asked for goes on:
	// a copy that has begun is written by the targets alone.
	CrashEngine Crash = "engine"
	// CrashTarget: the target that was called dies and is back at once.
	CrashTarget Crash = "target"
)

// FaultError is how a call fails.
type FaultError string

// How a call fails.
const (
	FaultUnavailable FaultError = "unavailable" // it is not done; worth a retry
	FaultBusy        FaultError = "busy"        // it is not done; worth a retry
	FaultNoSpace     FaultError = "no-space"
	FaultNotFound    FaultError = "not-found"
	FaultTimeout     FaultError = "timeout"     // it was not answered in all the time that it had; the wait is not played
	FaultAnswerLost  FaultError = "answer-lost" // it has taken effect

	// Of copies only.
	FaultCutOff         FaultError = "cut-off"         // unavailable after the first cluster
	FaultMissingCluster FaultError = "missing-cluster" // this and the next ones say that all went well
	FaultExtraCluster   FaultError = "extra-cluster"
	FaultOtherBytes     FaultError = "other-bytes" // of the last cluster
	FaultOtherPlace     FaultError = "other-place" // of the last cluster
)

var faultErrors = []FaultError{
	FaultUnavailable, FaultBusy, FaultNoSpace, FaultNotFound, FaultTimeout, FaultAnswerLost,
	FaultCutOff, FaultMissingCluster, FaultExtraCluster, FaultOtherBytes, FaultOtherPlace,
}

// ofCopies reports whether only a copy can fail so.
func (e FaultError) ofCopies() bool {
	return slices.Index(faultErrors, e) >= slices.Index(faultErrors, FaultCutOff)
}

// faultCalls are the calls of a rebuild, and where they go; "": to both hosts.
var faultCalls = []struct {
	name string
	side Side
}{
	{"list", ""},
	{"look", ""},
	{"prove", ""},
	{"release", ""},
	{"snapshot", SideSource},
	{"peer", SideSource},
	{"copy", SideSource},
	{"create", SideDestination},
	{"receive", SideDestination},
	{"withdraw", SideDestination},
	{"graft", SideDestination},
	{"seal", SideDestination},
	{"clone", SideDestination},
	{"delete", SideDestination},
	{"record", SideDestination},
}

const (
	maxFaults     = 1000
	maxNth        = 1_000_000
	expectedCrash = "engine or target"
	expectedSide  = "source or destination"
)

func expectedCalls() string {
	var names []string
	for _, c := range faultCalls {
		names = append(names, c.name)
	}
	return "one of " + strings.Join(names, ", ")
}

func expectedErrors() string {
	var names []string
	for _, e := range faultErrors {
		names = append(names, string(e))
	}
	return "one of " + strings.Join(names, ", ")
}

// withDefaults is the fault with its defaults written out.
func (f Fault) withDefaults() Fault {
	f.Nth, f.Run, f.Times = max(f.Nth, 1), max(f.Run, 1), max(f.Times, 1)
	if f.Side != "" {
		return f
	}
	f.Side = SideDestination
	for _, c := range faultCalls {
		if c.name == f.Call && c.side != "" {
			f.Side = c.side
		}
	}
	return f
}

// String says on one line what goes wrong, such as "copy 2 on the source:
// unavailable".
func (f Fault) String() string {
	f = f.withDefaults()
	where := fmt.Sprintf("%s %d on the %s", f.Call, f.Nth, f.Side)
	switch {
	case f.Crash != "" && f.After:
		return fmt.Sprintf("%s: the %s crashes, and the call takes effect", where, f.Crash)
	case f.Crash != "":
		return fmt.Sprintf("%s: the %s crashes", where, f.Crash)
	case f.Times > 1:
		return fmt.Sprintf("%s, %d times: %s", where, f.Times, f.Error)
	}
	return fmt.Sprintf("%s: %s", where, f.Error)
}

// checkFaults refuses what cannot happen.
func (s *Scenario) checkFaults() error {
	if len(s.Faults) > maxFaults {
		return s.errorAt("faults", "expected at most %d faults, got %d", maxFaults, len(s.Faults))
	}
	runs := max(s.Runs, defaultRuns)
	for i, f := range s.Faults {
		if err := s.checkFault(i, f, runs); err != nil {
			return err
		}
	}
	return nil
}

func (s *Scenario) checkFault(i int, f Fault, runs int) error {
	at := fmt.Sprintf("faults[%d].", i)
	if f.Crash != "" {
		at += "crash."
	}
	side, known := Side(""), false
	for _, c := range faultCalls {
		if c.name == f.Call {
			side, known = c.side, true
		}
	}
	switch {
	case !known:
		return s.errorAt(at+"call", "expected %s, got %s", expectedCalls(), quote(f.Call))
	case f.Side != "" && f.Side != SideSource && f.Side != SideDestination:
		return s.errorAt(at+"side", "expected %s, got %s", expectedSide, quote(string(f.Side)))
	case f.Side != "" && side != "" && f.Side != side:
		return s.errorAt(at+"side", "expected %s, where a rebuild has each %s done, got %s", side, f.Call, quote(string(f.Side)))
	case f.Crash != "" && f.Crash != CrashEngine && f.Crash != CrashTarget:
		return s.errorAt(at+"of", "expected %s, got %s", expectedCrash, quote(string(f.Crash)))
	case f.Crash == "" && !slices.Contains(faultErrors, f.Error):
		return s.errorAt(at+"error", "expected %s, got %s", expectedErrors(), quote(string(f.Error)))
	case f.Crash == "" && f.Error.ofCopies() && f.Call != "copy":
		return s.errorAt(at+"error", "expected an error that a %s can have: %s is one of a copy", f.Call, quote(string(f.Error)))
	case f.Nth < 0 || f.Nth > maxNth:
		return s.errorAt(at+"nth", "expected %s, got %d", numberBetween(1, maxNth), f.Nth)
	case f.Times < 0 || f.Times > maxNth:
		return s.errorAt(at+"times", "expected %s, got %d", numberBetween(1, maxNth), f.Times)
	case f.Run < 0 || f.Run > runs:
		return s.errorAt(at+"run", "expected a run from 1 to %d, which is how many runs there are, got %d", runs, f.Run)
	}
	return nil
}
