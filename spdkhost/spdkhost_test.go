package spdkhost_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/spdkhost"
)

var (
	_ rebuild.Host     = (*spdkhost.Host)(nil)
	_ rebuild.Prover   = (*spdkhost.Host)(nil)
	_ rebuild.Recorder = (*spdkhost.Host)(nil)
)

func TestMissingTargetIsUnavailable(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "spdk.sock")
	_, err := spdkhost.Open(t.Context(), spdkhost.Config{Socket: socket, Lvstore: "disk-1"})
	require.ErrorIs(t, err, rebuild.ErrUnavailable)
	require.ErrorContains(t, err, socket)
}
