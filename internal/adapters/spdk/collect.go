package spdk

import (
	"context"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Opened implements ports.Collector: the target's subsystems and controllers
// of rebuilds, whatever lvstore they serve.
func (h *Host) Opened(ctx context.Context) ([]ports.Opened, error) {
	subsystems, controllers, err := h.opened(ctx, func(nqn string) bool { return runNQNForm.MatchString(nqn) })
	if err != nil {
		return nil, h.store.Failed(err, "list what runs have opened")
	}
	var found []ports.Opened
	add := func(kind string, nqns []string) {
		for _, nqn := range nqns {
			parts := runNQNForm.FindStringSubmatch(nqn)
			found = append(found, ports.Opened{Run: ports.Run{Replica: parts[1], Store: parts[2], ID: parts[3]}, What: kind + " " + nqn})
		}
	}
	add("controller of", controllers)
	add("subsystem", subsystems)
	return found, nil
}
