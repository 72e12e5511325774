package memory

import (
	"context"
	"sync"
	"time"
)

// faults counts calls and asks for their faults.
type faults struct {
	mu    sync.Mutex
	ask   func(Call) Fault
	calls map[string]int // by method
}

func (f *faults) inject(ask func(Call) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ask = ask
}

// next counts the call and gets its fault.
func (f *faults) next(call Call) Fault {
	f.mu.Lock()
	if f.calls == nil {
		f.calls = make(map[string]int)
	}
	f.calls[call.Method]++
	call.N = f.calls[call.Method]
	ask := f.ask
	f.mu.Unlock()
	if ask == nil {
		return Fault{}
	}
	return ask(call)
}

// wait waits for the fault's delay.
func (f Fault) wait(ctx context.Context) error {
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return ended(ctx)
}
