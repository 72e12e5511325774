package spdk

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports"
)

// What is left of an lvol once it was sealed has no cluster, hangs on the snapshot and
// has nothing that hangs on it. Else something was at work on it in that moment.
func TestSealRefusesWrittenRest(t *testing.T) {
	rest := func(clusters int, parent, clones string) string {
		return fmt.Sprintf(`"result":[{"name":"u","uuid":"u","supported_io_types":{"write":true},"driver_specific":{"lvol":
			{"lvol_store_uuid":"s","num_allocated_clusters":%d,"base_snapshot":%q,"clones":[%s]}}}]`, clusters, parent, clones)
	}
	for name, c := range map[string]struct {
		rest string
		kind error
	}{
		"empty, on the snapshot":      {rest(0, "snap", ""), nil},
		"gone already":                {noSuch, nil},
		"a cluster of its own":        {rest(1, "snap", ""), ports.ErrCorrupt},
		"on another snapshot":         {rest(0, "other", ""), ports.ErrCorrupt},
		"on nothing":                  {rest(0, "", ""), ports.ErrCorrupt},
		"something that hangs on it":  {rest(0, "snap", `"clone"`), ports.ErrCorrupt},
		"a look that is not answered": {`"error":{"code":-5,"message":"Input/output error"}`, ports.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			client := scripted(t, time.Minute, answers(c.rest, `"result":true`))
			l := &lvols{Lvstore: &rpc.Lvstore{Client: client, UUID: "s", Name: "store"}}
			err := l.dropRest(t.Context(), "u", "snap")
			if c.kind == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, c.kind)
			}
		})
	}
}

// The rest is on the snapshot and empty, and yet it stays.
func TestSealFailsIfRestStays(t *testing.T) {
	target := targettest.Simulate(t, simtarget.NewFabric(), simtarget.Fork)
	h := openNew(t, target, 16)
	l := create(t, h, "vol-1-rebuilding-00000001", 2)
	refuse(target, "bdev_lvol_delete", "Input/output error")
	_, err := h.Seal(t.Context(), l, "vol-1-snap-a", ports.SealRecord{})
	require.ErrorIs(t, err, ports.ErrUnavailable)
	target.Simulated().Inject(nil)
	require.Equal(t, []string{"vol-1-rebuilding-00000001", "vol-1-snap-a"}, lvolNames(t, h))
}

// refuse has a target refuse each call of a method.
func refuse(target *targettest.Target, method, message string) {
	target.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
		if r.Method == method {
			return simtarget.Fault{Refuse: &simtarget.Error{Code: -32602, Message: message}}
		}
		return simtarget.Fault{}
	})
}
