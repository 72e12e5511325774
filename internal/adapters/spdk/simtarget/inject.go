package simtarget

import (
	"encoding/json"
	"time"
)

// Request is one JSON-RPC call, as Inject sees it.
type Request struct {
	Method string
	Params json.RawMessage // nil: none were given
	N      int             // the how many-th of its method on this target since it was started, from 1
}

// Event is what befalls a target, instead of its answer.
type Event int

const (
	// Nothing befalls it.
	Nothing Event = iota
	// Silence is when the request is never answered.
	Silence
	// Close closes the connection.
	Close
	// Hang has the target answer nobody from now on; copies stand still.
	Hang
	// Kill ends the target, as kill -9 does.
	Kill
)

// Fault is what happens to a request. The zero Fault is none.
type Fault struct {
	// Delay holds the request back, before anything else.
	Delay time.Duration
	// Until holds the request back until it is closed, after Delay; nil: it does not.
	Until <-chan struct{}
	// Refuse is answered, and nothing is done.
	Refuse *Error
	// Before happens before the request takes effect, so it has none.
	Before Event
	// After happens when the request has taken effect; it is not answered.
	After Event
	// Garble replaces the answer, which came after the effect.
	Garble []byte
}

// Error is the error of a JSON-RPC answer.
type Error struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// Inject has the function asked about each request from now on, in the order in
// which they came; nil ends it. It is called on the target's own goroutines: it
// may wait, but it ends this target by a Fault, or from a goroutine of its own.
func (t *Target) Inject(ask func(Request) Fault) {
	t.asking.Lock()
	defer t.asking.Unlock()
	t.ask = ask
}

// admit counts the request and asks what happens to it.
func (t *Target) admit(r *request) Fault {
	t.asking.Lock()
	t.asked[r.method]++
	asked := Request{Method: r.method, Params: r.params, N: t.asked[r.method]}
	ask := t.ask
	t.asking.Unlock()
	if ask == nil {
		return Fault{}
	}
	return ask(asked)
}
