package spdk

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/ports"
)

// A target can listen on all addresses of its machine, but nobody can send there:
// the address is given to the target that sends. It is refused before any call.
func TestOpenRefusesUnreachableListenAddress(t *testing.T) {
	for _, at := range []string{"", "host-b", "0.0.0.0", "::", "::ffff:0.0.0.0", "224.0.0.1", "ff02::1", "255.255.255.255", "10.0.0.0/8"} {
		_, err := Open(t.Context(), Config{Socket: "/nowhere.sock", Lvstore: "disk-1", Listen: nvmf.Listen{Address: at, First: 20001, Last: 20400}})
		require.ErrorIs(t, err, ports.ErrInvalid, at)
		require.ErrorContains(t, err, "Listen: ", at)
	}
}
