package memory

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Record implements ports.Recorder; an Upstream host returns ErrUnsupported.
func (h *Host) Record(ctx context.Context, head, record string) error {
	what := fmt.Sprintf("record %q on %s", record, h.nameOrUUID(head))
	return h.carryOut(ctx, h.onLvol("record", head), what, func() (change, error) {
		if h.config.Flavour == Upstream {
			return change{}, ports.ErrUnsupported
		}
		return change{apply: func() error {
			l, err := h.findWritable(head)
			if err != nil {
				return err
			}
			l.record = record
			return nil
		}}, nil
	})
}
