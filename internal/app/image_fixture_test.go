package app_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

const imageCluster = 4096

func imageHost(flavour memory.Flavour) *memory.Host {
	return memory.NewFabric().NewHost(memory.Config{Name: "disk", ClusterSize: imageCluster, BlockSize: 512, TotalClusters: 64, Flavour: flavour})
}

// disk is an image: clusters 1 to 3 of 8 are zero, and it ends within the last one.
func disk() []byte {
	p := make([]byte, 7*imageCluster+1000)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(p)
	clear(p[imageCluster : 4*imageCluster])
	return p
}

func sumOf(p []byte) string {
	sum := sha512.Sum512(p)
	return hex.EncodeToString(sum[:])
}

func importOf(host ports.Host, p []byte) app.ImageRequest {
	return app.ImageRequest{Host: host, Name: "base", Content: bytes.NewReader(p), Size: uint64(len(p))}
}

func namesOn(t *testing.T, host ports.Host) (names []string) {
	t.Helper()
	store, err := host.List(context.Background())
	require.NoError(t, err)
	for _, l := range store.Lvols {
		names = append(names, l.Name)
	}
	return names
}
