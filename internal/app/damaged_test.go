package app_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// growDamaged makes the field's branching tree, with data in the head, and a
// leftover replica that is damaged in several ways.
func growDamaged(t tester, source, destination memory.Flavour) (*bench, app.Request) {
	t.Helper()
	b := newBench(t, memory.Config{Flavour: source}, memory.Config{Flavour: destination})
	p := newPlant(t, b.source, sourceName, growImage(t, b.source, 4))
	p.growTree(fieldTree, 8, 10)
	p.write(list(t, b.source, sourceName).Head.UUID, 7, 99)
	image := growImage(t, b.destination, 4)
	left := newPlant(t, b.destination, copyName, image)
	left.snapshot("snap11", "", 8, map[int]byte{0: 10}, minute(0)) // lost its image
	left.snapshot("snap12", left.uuids["snap11"], 8, map[int]byte{1: 251}, minute(1))
	left.snapshot("snap14", left.uuids["snap12"], 8, map[int]byte{3: 252}, minute(3))
	left.snapshot("snap21", left.uuids["snap14"], 8, map[int]byte{3: 13}, minute(3))
	left.writable(domain.InFlightLvolName(copyName, "0badcafe"), left.uuids["snap21"], 8)
	left.writable(copyName, left.uuids["snap14"], 8)
	other := newPlant(t, b.destination, "vol-10-r-2", image)
	other.snapshot("s0", image, 8, map[int]byte{0: 77}, minute(0))
	other.writable("vol-10-r-2", other.uuids["s0"], 8)
	return b, app.Request{
		Source:      app.Site{Host: b.source, Replica: sourceName},
		Destination: app.Site{Host: b.destination, Replica: copyName},
	}
}

// counter counts the calls that two hosts get, and lets one of them fail.
type counter struct {
	mu    sync.Mutex
	calls int
	at    int // the call that fails, from 1; 0: none
	fault memory.Fault
	what  string // the call that failed
}

func (c *counter) ask(host string) func(memory.Call) memory.Fault {
	return func(call memory.Call) memory.Fault {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.calls++; c.calls != c.at {
			return memory.Fault{}
		}
		c.what = fmt.Sprintf("%s %s on the %s", call.Method, call.Name, host)
		return c.fault
	}
}

// TestWhateverCallFailsTheNextRunArrives lets each call of a rebuild fail once,
// in each way, and runs it again. In between, nothing of the run is left in
// flight, no foreign lvol has changed, and no head stands on what is not whole.
func TestWhateverCallFailsTheNextRunArrives(t *testing.T) {
	faults := map[string]memory.Fault{
		"unavailable": {Before: ports.ErrUnavailable},
		"no space":    {Before: ports.ErrNoSpace},
		"not found":   {Before: ports.ErrNotFound},
		"answer lost": {After: ports.ErrUnavailable},
		"half copied": {Before: ports.ErrUnavailable, AfterClusters: 1},
	}
	runs := 0
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		for name, fault := range faults {
			t.Run(fmt.Sprintf("%s on %s", name, flavour), func(t *testing.T) {
				for at := 1; ; at++ {
					failed, again := failOnce(t, flavour, fault, at)
					if !failed {
						return
					}
					runs++
					require.NoError(t, again)
				}
			})
		}
	}
	t.Logf("%d runs with a fault, each run again", runs)
}

func failOnce(t *testing.T, flavour memory.Flavour, fault memory.Fault, at int) (failed bool, again error) {
	b, request := growDamaged(t, flavour, flavour)
	request.Parallel = 1 // so that the n-th call is the same each time
	foreign := photograph(t, b.destination)["vol-10-r-2"]
	c := &counter{at: at, fault: fault}
	b.source.Inject(c.ask("source"))
	b.destination.Inject(c.ask("destination"))
	_, err := app.New(nil).Rebuild(context.Background(), request)
	b.source.Inject(nil)
	b.destination.Inject(nil)
	if c.calls < at {
		require.NoError(t, err)
		return false, nil
	}
	where := fmt.Sprintf("call %d, %s: %v", at, c.what, err)
	d := list(t, b.destination, copyName)
	if err != nil && d.Head != nil && d.Head.Record != "" {
		// A head of ours: the answer to the last calls was lost.
		violations, verr := domain.Verify(list(t, b.source, sourceName), d, domain.ImageNamed(imageName))
		require.NoError(t, verr)
		require.Empty(t, violations, where)
	}
	for _, l := range d.InFlight {
		if l.Name == domain.InFlightLvolName(copyName, "0badcafe") {
			continue // it was there before
		}
		require.True(t, c.what == "delete "+l.Name+" on the destination" || isCleanUp(err), "left in flight after %s", where)
	}
	require.Equal(t, foreign, photograph(t, b.destination)["vol-10-r-2"], where)

	report, again := app.New(nil).Rebuild(context.Background(), request)
	if again == nil {
		requireEqualViews(t, b, sourceName, copyName, true)
		require.Empty(t, report.Violations)
	}
	return true, again
}

// isCleanUp reports whether the fault hit the clean-up itself, which says so
// and leaves the rest to the next run.
func isCleanUp(err error) bool {
	return err != nil && errors.Is(err, app.ErrCleanUp)
}
