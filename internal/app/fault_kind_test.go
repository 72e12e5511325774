package app_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/ports"
)

// faultKind is one way in which a call of a port can go wrong.
type faultKind struct {
	name   string
	fault  memory.Fault    // that befalls a call of a port
	answer simtarget.Fault // that befalls a JSON-RPC call

	copies bool // it can befall copies only
	needs  need // of the snapshot that is copied

	passes bool   // a rebuild that it befalls once completes all the same
	ends   ending // what else ends with the call
	spoils bool   // a copy that says that all is well, and is not
}

// need is what the own clusters of a snapshot must leave room for.
type need int

const (
	needNothing need = iota
	needOwn          // a cluster of its own
	needFree         // and one that is not
	needRoom         // one that is not its own
)

// ending is what ends when a fault strikes, beside the call.
type ending int

const (
	endNothing ending = iota
	endCaller         // the caller gives the rebuild up
	endTarget         // the process of the target that was called
	endEngine         // the process that called, as kill -9 does: nothing is cleaned up
	endHang           // the target answers nobody any more
)

var (
	errEngineDied = errors.Join(ports.ErrUnavailable, errors.New("the engine is dead"))
	errTargetDown = errors.Join(ports.ErrUnavailable, errors.New("the target is dead"))
)

const (
	adapterPatience = 20 * time.Second // an adapter gives a call up that is not answered
	callerPatience  = 5 * time.Minute  // a caller gives a rebuild up
	forever         = 100 * time.Hour
	copyTime        = time.Minute // of a copy that outlives its engine
)

// faultKinds are all that can go wrong with one call.
var faultKinds = []faultKind{
	{name: "unavailable", fault: memory.Fault{Before: ports.ErrUnavailable}, passes: true},
	{name: "busy", fault: memory.Fault{Before: ports.ErrBusy}, passes: true},
	{name: "no-space", fault: memory.Fault{Before: ports.ErrNoSpace}},
	{name: "not-found", fault: memory.Fault{Before: ports.ErrNotFound}},

	{name: "answer-lost", fault: memory.Fault{After: ports.ErrUnavailable}, passes: true},
	{name: "timeout", fault: memory.Fault{Before: errNoAnswer, Delay: adapterPatience}},
	{name: "timeout-though-done", fault: memory.Fault{After: errNoAnswer, Delay: adapterPatience}},
	{name: "hang", fault: memory.Fault{Delay: forever}},
	{name: "cancelled", ends: endCaller},

	{name: "half-copied", fault: memory.Fault{Before: ports.ErrUnavailable, AfterClusters: 1}, copies: true, needs: needOwn, passes: true},
	{name: "store-full", fault: memory.Fault{Before: ports.ErrNoSpace, AfterClusters: 1}, copies: true, needs: needOwn},
	{name: "cluster-lost", fault: memory.Fault{Spoil: memory.SpoilLess}, copies: true, needs: needOwn, passes: true},
	{name: "cluster-too-many", fault: memory.Fault{Spoil: memory.SpoilMore}, copies: true, needs: needRoom, passes: true},
	{name: "other-bytes", fault: memory.Fault{Spoil: memory.SpoilBytes}, copies: true, needs: needOwn, spoils: true},
	{name: "other-place", fault: memory.Fault{Spoil: memory.SpoilPlace}, copies: true, needs: needFree, spoils: true},

	{name: "target-dies", fault: memory.Fault{Before: errTargetDown, Restart: true}, ends: endTarget, passes: true},
	{name: "target-dies-having-done-it", fault: memory.Fault{After: errTargetDown, Restart: true}, ends: endTarget, passes: true},
	{name: "target-dies-copying", fault: memory.Fault{Before: errTargetDown, AfterClusters: 1, Restart: true}, copies: true, needs: needOwn, ends: endTarget, passes: true},
	{name: "engine-dies", fault: memory.Fault{Before: errEngineDied}, ends: endEngine},
	{name: "engine-dies-having-done-it", fault: memory.Fault{After: errEngineDied}, ends: endEngine},
	{name: "engine-dies-copying", fault: memory.Fault{Unwatched: true, Delay: copyTime}, copies: true, ends: endEngine},
}

func refusal(message string) simtarget.Fault {
	return simtarget.Fault{Refuse: &simtarget.Error{Code: -32602, Message: message}}
}

// callFaultKinds are all that can go wrong with one JSON-RPC call. What a target
// refuses is refused for good where it says so.
var callFaultKinds = []faultKind{
	{name: "rpc-io-error", answer: refusal("Input/output error")},
	{name: "rpc-busy", answer: refusal("Device or resource busy")},
	{name: "rpc-no-space", answer: refusal("No space left on device")},
	{name: "rpc-not-found", answer: refusal("No such device")},
	{name: "rpc-lost", answer: simtarget.Fault{Before: simtarget.Silence}},
	{name: "rpc-answer-lost", answer: simtarget.Fault{After: simtarget.Silence}},
	{name: "rpc-closed", answer: simtarget.Fault{Before: simtarget.Close}, passes: true},
	{name: "rpc-closed-though-done", answer: simtarget.Fault{After: simtarget.Close}, passes: true},
	{name: "rpc-garbled", answer: simtarget.Fault{Garble: []byte("}nonsense")}, passes: true},
	{name: "rpc-hangs", answer: simtarget.Fault{Before: simtarget.Hang}, ends: endHang},
	{name: "rpc-hangs-having-done-it", answer: simtarget.Fault{After: simtarget.Hang}, ends: endHang},
	{name: "rpc-cancelled", ends: endCaller},
	{name: "rpc-target-dies", answer: simtarget.Fault{Before: simtarget.Kill}, ends: endTarget, passes: true},
	{name: "rpc-target-dies-having-done-it", answer: simtarget.Fault{After: simtarget.Kill}, ends: endTarget, passes: true},
	{name: "rpc-engine-dies", answer: simtarget.Fault{Before: simtarget.Close}, ends: endEngine},
	{name: "rpc-engine-dies-having-done-it", answer: simtarget.Fault{After: simtarget.Close}, ends: endEngine},
}

// lasts reports whether the fault can go on from the call on: the call fails
// whenever it is made again. The end of an engine or of a caller is final anyway.
func (k faultKind) lasts() bool { return k.ends == endNothing || k.ends == endTarget }

// canBefall reports whether it can happen to this call.
func (k faultKind) canBefall(p faultPoint) bool {
	if !k.copies {
		return true
	}
	if p.method != "copy" {
		return false
	}
	switch k.needs {
	case needOwn:
		return p.own > 0
	case needFree:
		return p.own > 0 && p.own < p.clusters
	case needRoom:
		return p.own < p.clusters
	}
	return true
}

// found reports whether a copy that was spoiled so is found before the rebuild
// says that it is complete. What is only counted is not compared, but a fetched
// image is wherever it can be.
func (s injection) found(v verification, f flavours) bool {
	return !s.kind.spoils || v == verifyViews || f.prove() && (v == verifyProof || s.image)
}

// heals reports whether a rebuild completes that it befalls once. What a volume uses
// is not waited for when views are read, so that an lvol which stays open since the
// answer was lost is not opened again in this run.
func (s injection) heals() bool {
	switch {
	case !s.kind.passes || s.lasts:
		return false
	case s.method == "open":
		return s.kind.name != "busy" && s.kind.name != "answer-lost"
	case s.method == "read":
		return s.kind.name != "busy"
	}
	return true
}

// passesUnseen reports whether the store is, after one more call, what it would be
// without the fault.
func (s injection) passesUnseen() bool {
	k := s.kind
	return k.passes && !s.lasts && k.ends == endNothing && k.fault.Spoil == 0
}

// verification is how a result is checked.
type verification string

const (
	verifyCounts verification = "counts"
	verifyProof  verification = "proof"
	verifyViews  verification = "views"
)

// ofCalls reports whether it befalls JSON-RPC calls, not those of a port.
func (k faultKind) ofCalls() bool { return strings.HasPrefix(k.name, "rpc-") }

func kindNamed(name string) (faultKind, bool) {
	for _, k := range slices.Concat(faultKinds, callFaultKinds) {
		if k.name == name {
			return k, true
		}
	}
	return faultKind{}, false
}

// cancelling is a context that a caller gives up in time, and how to give it up
// at once.
func cancelling() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), callerPatience)
}
