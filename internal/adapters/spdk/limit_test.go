package spdk

import (
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

// A limit below a MiB a second is a MiB, since SPDK has no lower one. A lifted limit is
// never sent as 0: a target may crash when it lifts one.
func TestLimitIsRoundedDown(t *testing.T) {
	const mib = 1 << 20
	type qosRequest struct {
		Name   string `json:"name"`
		Mbytes uint64 `json:"rw_mbytes_per_sec"`
	}
	asked := make(chan qosRequest, 1)
	client := scripted(t, time.Minute, func(conn net.Conn, in *json.Decoder) {
		for {
			var r targettest.Request
			if in.Decode(&r) != nil {
				return
			}
			var q qosRequest
			if r.Method != "bdev_set_qos_limit" || json.Unmarshal(r.Params, &q) != nil {
				t.Errorf("%s %s", r.Method, r.Params)
			}
			asked <- q
			targettest.Reply(conn, r.ID, "true")
		}
	})
	h := &Host{store: &rpc.Lvstore{Client: client}}
	h.drafts.Set("lvol", draft{})
	require.NoError(t, h.Limit(t.Context(), "lvol", 0))
	require.Equal(t, qosRequest{Name: "lvol", Mbytes: rpc.NoLimit}, <-asked)
	for bytes, want := range map[uint64]uint64{
		1: 1, mib - 1: 1, mib: 1, 2*mib - 1: 1, 2 * mib: 2, 100 * mib: 100, 100*mib + mib/2: 100, 1 << 63: rpc.NoLimit,
	} {
		require.NoError(t, h.Limit(t.Context(), "lvol", bytes))
		require.Equal(t, qosRequest{Name: "lvol", Mbytes: want}, <-asked, "%d bytes a second", bytes)
		require.LessOrEqual(t, want*mib, max(bytes, h.LeastLimit()), "never more, from the least on")
	}
}
