package nvmf

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestListenAddresses(t *testing.T) {
	for _, at := range []string{"127.0.0.1", "::1", "10.1.2.3", "fd00::1"} {
		require.NoError(t, Listen{Address: at, First: 20001, Last: 20400}.Check())
	}
	require.Error(t, Listen{Address: "10.1.2.3", First: 2, Last: 1}.Check())
	require.Error(t, Listen{Address: "10.1.2.3"}.Check())
}

// All subsystems have one port, until the target refuses it. Then each port of the
// range is tried once.
func TestSharedPortGoesRoundItsRange(t *testing.T) {
	s := &sharedPort{listen: Listen{Address: "127.0.0.1", First: 7, Last: 9}}
	for range 2 {
		port, err := s.Allocate(t.Context(), nil)
		require.NoError(t, err)
		require.EqualValues(t, 7, port)
	}
	port, err := s.Allocate(t.Context(), []uint16{7})
	require.NoError(t, err)
	require.EqualValues(t, 8, port)
	port, err = s.Allocate(t.Context(), nil)
	require.NoError(t, err)
	require.EqualValues(t, 8, port, "the next subsystem begins there")
	var refused []uint16
	for _, want := range []uint16{8, 9, 7} {
		port, err = s.Allocate(t.Context(), refused)
		require.NoError(t, err)
		require.Equal(t, want, port)
		refused = append(refused, port)
	}
	_, err = s.Allocate(t.Context(), refused)
	require.EqualError(t, err, "no port of 127.0.0.1:7-9 can be listened on")
}
