package memory

import "context"

// Create implements ports.Store. A store can promise more than it has: space
// runs out when bytes are written.
func (h *Host) Create(ctx context.Context, name string, size uint64) (string, error) {
	var uuid string
	err := h.carryOut(ctx, Call{Method: "create", Name: name}, "create "+name, func() (change, error) {
		size, err := h.sized(size)
		if err == nil {
			err = h.freeName(name)
		}
		return change{name: name, apply: func() error {
			uuid = h.add(name, size, nil).uuid
			return nil
		}}, err
	})
	if err != nil {
		return "", err
	}
	return uuid, nil
}
