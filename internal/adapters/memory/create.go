package memory

import "context"

// Create implements ports.Store. The store may be overcommitted: it runs out of space
// when bytes are written.
func (h *Host) Create(ctx context.Context, name string, size uint64) (string, error) {
	var uuid string
	err := h.carryOut(ctx, Call{Method: "create", Name: name}, "create "+name, func() (change, error) {
		size, err := h.roundUp(size)
		if err == nil {
			err = h.checkName(name)
		}
		return change{name: name, apply: func() error {
			uuid = h.add(name, size, nil).uuid
			return nil
		}}, err
	})
	return unlessLost(uuid, err)
}
