package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is a failure in a run: a call of a port that fails, or a process that crashes at
// the call.
type Fault struct {
	Call string // a method of a port in lower case, such as copy
	Nth  int    // number of the call among such calls on that side in the run; 0: the first
	Side Side   // the host that is called; "": the one that gets such calls, the destination if both do
	Run  int    // 0: the first

	Error FaultError // how the call fails; "" where Crash is given
	Times int        // number of consecutive calls that fail; 0: one

	Crash Crash // the process that crashes at the call; "": none
	After bool  // of a Crash: the call takes effect, but is not answered

	member int // of crashMember, from 1
}

// Side is one of the two hosts.
type Side string

// The sides.
const (
	SideSource      Side = "source"
	SideDestination Side = "destination"
)

// Crash is the process that crashes.
type Crash string

// The processes that can crash.
const (
	// CrashEngine: the run is not cleaned up. Its requests go on: the targets finish a
	// copy that has begun.
	CrashEngine Crash = "engine"
	// CrashTarget: the target that was called crashes and restarts at once.
	CrashTarget Crash = "target"
	// crashMember: the target of Fault.member crashes, and stays down.
	crashMember Crash = "member"
)

// FaultError is how a call fails.
type FaultError string

// The errors of calls.
const (
	FaultUnavailable FaultError = "unavailable" // the call is not done; a retry may help
	FaultBusy        FaultError = "busy"        // the call is not done; a retry may help
	FaultNoSpace     FaultError = "no-space"
	FaultNotFound    FaultError = "not-found"
	FaultTimeout     FaultError = "timeout"     // the call timed out; the wait is not simulated
	FaultAnswerLost  FaultError = "answer-lost" // the call took effect

	// Of copies only.
	FaultCutOff         FaultError = "cut-off"         // unavailable after the first cluster
	FaultMissingCluster FaultError = "missing-cluster" // this and the next ones report success
	FaultExtraCluster   FaultError = "extra-cluster"
	FaultOtherBytes     FaultError = "other-bytes" // of the last cluster
	FaultOtherPlace     FaultError = "other-place" // of the last cluster
)

var faultErrors = []FaultError{
	FaultUnavailable, FaultBusy, FaultNoSpace, FaultNotFound, FaultTimeout, FaultAnswerLost,
	FaultCutOff, FaultMissingCluster, FaultExtraCluster, FaultOtherBytes, FaultOtherPlace,
}

// ofCopies reports whether only a copy can have this error.
func (e FaultError) ofCopies() bool {
	return slices.Index(faultErrors, e) >= slices.Index(faultErrors, FaultCutOff)
}

type faultCall struct {
	name string
	side Side
}

// faultCalls are the calls of a rebuild and the host that gets them; "": both.
var faultCalls = []faultCall{
	{"list", ""},
	{"look", ""},
	{"prove", ""},
	{"release", ""},
	{"offer", ""},
	{"show", ""},
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
	{"connect", SideDestination},
	{"graft-external", SideDestination},
	{"rename", SideDestination},
}

func isCall(name string) bool {
	return slices.ContainsFunc(faultCalls, func(c faultCall) bool { return c.name == name })
}

// sideOf is the host that gets such calls; "": both, or it is none.
func sideOf(call string) Side {
	for _, c := range faultCalls {
		if c.name == call {
			return c.side
		}
	}
	return ""
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

// withDefaults fills in the defaults.
func (f Fault) withDefaults() Fault {
	f.Nth, f.Run, f.Times = max(f.Nth, 1), max(f.Run, 1), max(f.Times, 1)
	if f.Side != "" {
		return f
	}
	f.Side = cmp.Or(sideOf(f.Call), SideDestination)
	return f
}

// String describes the fault on one line, such as "copy 2 on the source: unavailable".
func (f Fault) String() string {
	f = f.withDefaults()
	where := fmt.Sprintf("%s %d on the %s", f.Call, f.Nth, f.Side)
	switch {
	case f.Crash == crashMember:
		return fmt.Sprintf("%s: member %d dies", where, f.member)
	case f.Crash != "" && f.After:
		return fmt.Sprintf("%s: the %s crashes, and the call takes effect", where, f.Crash)
	case f.Crash != "":
		return fmt.Sprintf("%s: the %s crashes", where, f.Crash)
	case f.Times > 1:
		return fmt.Sprintf("%s, %d times: %s", where, f.Times, f.Error)
	}
	return fmt.Sprintf("%s: %s", where, f.Error)
}

// checkFaults refuses impossible faults.
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
	side := sideOf(f.Call)
	switch {
	case !isCall(f.Call):
		return s.errorAt(at+"call", "expected %s, got %s", expectedCalls(), quote(f.Call))
	case f.Side != "" && f.Side != SideSource && f.Side != SideDestination:
		return s.errorAt(at+"side", "expected %s, got %s", expectedSide, quote(string(f.Side)))
	case f.Side != "" && side != "" && f.Side != side:
		return s.errorAt(at+"side", "expected %s, since a rebuild calls %s only there, got %s", side, f.Call, quote(string(f.Side)))
	case f.Crash != "" && f.Crash != CrashEngine && f.Crash != CrashTarget:
		return s.errorAt(at+"of", "expected %s, got %s", expectedCrash, quote(string(f.Crash)))
	case f.Crash == "" && !slices.Contains(faultErrors, f.Error):
		return s.errorAt(at+"error", "expected %s, got %s", expectedErrors(), quote(string(f.Error)))
	case f.Crash == "" && f.Error.ofCopies() && f.Call != "copy":
		return s.errorAt(at+"error", "expected an error of %s, but %s is an error of copy only", f.Call, quote(string(f.Error)))
	case f.Nth < 0 || f.Nth > maxNth:
		return s.errorAt(at+"nth", "expected %s, got %d", numberBetween(1, maxNth), f.Nth)
	case f.Times < 0 || f.Times > maxNth:
		return s.errorAt(at+"times", "expected %s, got %d", numberBetween(1, maxNth), f.Times)
	case f.Run < 0 || f.Run > runs:
		return s.errorAt(at+"run", "expected a run from 1 to %d, the number of runs, got %d", runs, f.Run)
	}
	return nil
}
