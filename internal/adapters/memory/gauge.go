package memory

import "context"

// FreeClusters implements ports.Gauge.
func (h *Host) FreeClusters(ctx context.Context) (uint64, error) {
	var free uint64
	err := h.perform(ctx, Call{Method: "free"}, "count free clusters", func() error {
		free = h.freeClusters()
		return nil
	})
	return free, err
}
