package memory

import "context"

// FreeClusters implements ports.Gauge.
func (h *Host) FreeClusters(ctx context.Context) (uint64, error) {
	var free uint64
	err := h.carryOut(ctx, Call{Method: "free"}, "count free clusters", func() (change, error) {
		return change{apply: func() error {
			free = h.freeClusters()
			return nil
		}}, nil
	})
	return free, err
}
