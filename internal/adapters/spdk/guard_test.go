package spdk

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports"
)

// A snapshot is cloned before it is deleted. Where there is no room for the clone, or no
// name, the snapshot goes all the same: it is what makes room. Where the clone is refused
// since something else is at work on the snapshot, it is not deleted.
func TestDeleteWhenGuardCloneIsRefused(t *testing.T) {
	for message, kind := range map[string]error{
		"No space left on device": nil,
		"Invalid argument":        nil,
		"File exists":             nil,
		"Device or resource busy": ports.ErrBusy,
		"Input/output error":      ports.ErrUnavailable,
	} {
		for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
			t.Run(flavour.String()+", "+message, func(t *testing.T) {
				target := targettest.Simulate(t, simtarget.NewFabric(), flavour)
				h := openNew(t, target, 16)
				s := snapshotOf(t, target, h, "vol-1-snap-a", 2, 1)
				refuse(target, "bdev_lvol_clone", message)
				err := h.Delete(t.Context(), s)
				target.Simulated().Inject(nil)
				if kind == nil {
					require.NoError(t, err)
					require.Empty(t, lvolNames(t, h))
					return
				}
				require.ErrorIs(t, err, kind)
				require.Equal(t, []string{"vol-1-snap-a"}, lvolNames(t, h))
			})
		}
	}
}
