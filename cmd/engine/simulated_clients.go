package main

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/scenario"
	"github.com/rootgraft/rebuild/memhost"
)

// clientsState is what the clients of a simulated live volume did, as JSON.
type clientsState struct {
	Reads     uint64   `json:"reads"`
	Writes    uint64   `json:"writes"`
	Trims     uint64   `json:"trims"`
	Zeroes    uint64   `json:"zeroes"`
	Failed    uint64   `json:"failed"`    // requests that returned an error
	Wrong     uint64   `json:"wrong"`     // reads that returned other bytes than were written
	LongestMS float64  `json:"longestMs"` // of a request
	Differ    []string `json:"differ"`    // members that lack bytes that were written
}

// undisturbed is the number of requests before and after the runs.
const undisturbed = 200

// startClients starts the clients of a live volume; nil: there is none.
func (s *simulation) startClients(ctx context.Context) (*scenario.Clients, error) {
	if s.world.Live == nil {
		return nil, nil
	}
	clients, err := s.world.Live.Start()
	if err == nil {
		clients.WaitFor(ctx, undisturbed)
	}
	return clients, err
}

// stopClients adds to the result what the clients did.
func (s *simulation) stopClients(ctx context.Context, clients *scenario.Clients, outcome *simulated) error {
	if clients == nil {
		return nil
	}
	clients.WaitFor(ctx, undisturbed)
	served, err := clients.Stop(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	outcome.Clients = &clientsState{
		Reads: served.Reads, Writes: served.Writes, Trims: served.Trims, Zeroes: served.Zeroes,
		Failed: served.Failures, Wrong: served.Wrong, LongestMS: milliseconds(served.Longest), Differ: append([]string{}, served.Differ...),
	}
	if wrong := served.Err(); wrong != nil && outcome.Error == "" {
		outcome.Outcome, outcome.Error = rebuild.OutcomeFailed, oneLine(wrong.Error())
	}
	return nil
}

// clients prints what the clients did.
func (s *printer) clients(c *clientsState) {
	if c == nil {
		return
	}
	s.heading("Clients")
	s.printf("  %d reads, %d writes, %d trims, %d writes of zeroes; the longest took %s\n", c.Reads, c.Writes, c.Trims, c.Zeroes, millisecondsText(c.LongestMS))
	s.printf("  %s\n", failuresText(c.Failed, c.Wrong))
	for _, what := range c.Differ {
		s.printf("%s", fold("  wrong: "+what+"\n", lineWidth(s.out)))
	}
}

func failuresText(failed, wrong uint64) string {
	if failed == 0 && wrong == 0 {
		return "none failed, and no read was wrong"
	}
	return fmt.Sprintf("%d failed, and %d reads were wrong", failed, wrong)
}

// meanwhileState is a snapshot that a user took of the volume.
type meanwhileState struct {
	Name     string  `json:"name"`
	Error    string  `json:"error"` // "": it was taken
	FreezeMS float64 `json:"freezeMs"`
}

// snapshotMeanwhile takes the user's snapshot when its call comes. wait is called at the end
// of the run.
func (s *simulation) snapshotMeanwhile(ctx context.Context, at *scenario.Injection) (wait func()) {
	live := s.world.Live
	if live == nil || live.Snapshot == nil || s.meanwhile != nil {
		return func() {}
	}
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-at.Snapshot:
			s.meanwhile = s.takeSnapshot(ctx, live)
		case <-over:
		}
	}()
	return func() {
		close(over)
		<-done
	}
}

func (s *simulation) takeSnapshot(ctx context.Context, live *scenario.Live) *meanwhileState {
	request := rebuild.VolumeRequest{
		Mirror: live.Mirror, Members: append([]rebuild.Site{s.request.Source}, s.request.MoreSources...),
		Freezer: s.freezer, FreezeLimit: live.FreezeLimit,
	}
	request.Members = append(request.Members, s.request.Destination)
	taken, err := s.engine.SnapshotVolume(ctx, request, live.Snapshot.Name)
	state := &meanwhileState{Name: live.Snapshot.Name, FreezeMS: milliseconds(taken.Frozen)}
	if err != nil {
		state.Error = oneLine(err.Error())
	}
	return state
}

// meanwhile prints a user's snapshot.
func (s *printer) meanwhile(m *meanwhileState) {
	switch {
	case m == nil:
	case m.Error != "":
		s.printf("%s", fold("  a user's snapshot "+m.Name+" was not taken: "+m.Error+"\n", lineWidth(s.out)))
	default:
		s.printf("  a user took snapshot %s of all members; clients were stopped for %s\n", m.Name, millisecondsText(m.FreezeMS))
	}
}

// rebuild runs one rebuild of the scenario.
func (s *simulation) rebuild(ctx context.Context, request rebuild.Request) (rebuild.Report, error) {
	live := s.world.Live
	if live == nil {
		return s.engine.Rebuild(ctx, request)
	}
	return s.engine.RebuildOnline(ctx, rebuild.OnlineRequest{
		Request: request, Mirror: live.Mirror, Freezer: s.freezer, FreezeLimit: live.FreezeLimit,
	})
}

// healthy is a replica to compare with: the source, or another member if it is gone. If all
// are gone, the source is started again.
func (s *simulation) healthy(ctx context.Context) (host *memhost.Host, replica string) {
	if live := s.world.Live; live != nil {
		for _, m := range live.Members {
			if _, err := m.Host.List(ctx); err == nil {
				return m.Host, m.Replica
			}
		}
		s.world.Source.Start()
	}
	return s.world.Source, s.world.SourceReplica
}
