package spdk

import (
	"context"
	"regexp"

	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"

	"github.com/rootgraft/rebuild/internal/ports"
)

var runNQNForm = regexp.MustCompile(`^` + regexp.QuoteMeta(helpertypes.GetNQN("")) + `(.+)-rebuild-([0-9a-f]{8})-[0-9a-f]{8}$`)

// Opened implements ports.Collector: the target's subsystems and controllers
// of rebuilds, whatever lvstore they serve.
func (h *Host) Opened(ctx context.Context) ([]ports.Opened, error) {
	subsystems, controllers, err := h.opened(ctx, func(nqn string) bool { return runNQNForm.MatchString(nqn) })
	if err != nil {
		return nil, h.failed(err, "list what runs have opened")
	}
	var found []ports.Opened
	add := func(kind string, nqns []string) {
		for _, nqn := range nqns {
			parts := runNQNForm.FindStringSubmatch(nqn)
			found = append(found, ports.Opened{Run: ports.Run{Replica: parts[1], ID: parts[2]}, What: kind + " " + nqn})
		}
	}
	add("controller of", controllers)
	add("subsystem", subsystems)
	return found, nil
}
