package app_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var largeTree = flag.Int("large-tree", 2000, "of how many snapshots the tree of TestLargeTreeKeepsMemoryBudget is")

// mostMemory is what a process may use that rebuilds 100,000 snapshots, both hosts
// in memory included; a smaller tree in proportion, and what a test takes anyway.
const mostMemory = 2 << 30

// TestLargeTreeKeepsMemoryBudget rebuilds a tree of 100,000 snapshots of one
// tiny cluster each within 2 GiB. The peak is that of the process, so it is run alone:
//
//	go test ./internal/app -count=1 -run TestLargeTree -large-tree 100000 -v -timeout 30m
func TestLargeTreeKeepsMemoryBudget(t *testing.T) {
	n := *largeTree
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(mostMemory * 9 / 10))
	b, request := newLargeFixture(t, n)
	grown := time.Now()
	report, err := app.New(nil).Rebuild(t.Context(), request)
	require.NoError(t, err)
	took := time.Since(grown)
	require.Len(t, report.Destination.Snapshots, n)
	require.Empty(t, report.Violations)
	s, d := list(t, b.source, sourceName), list(t, b.destination, copyName)
	for i := 0; i < n; i += 1 + n/100 {
		require.Equal(t, sha(t, b.source, s.Snapshots[i].Lvol.UUID), sha(t, b.destination, d.Snapshots[i].Lvol.UUID), s.Snapshots[i].Name)
	}
	var heap runtime.MemStats
	runtime.ReadMemStats(&heap)
	peak := peakMemory(t)
	t.Logf("%d snapshots in %v; peak of the process %d MiB, allocated in all %d MiB", n, took.Round(time.Millisecond), peak>>20, heap.TotalAlloc>>20)
	if n >= 100_000 {
		require.Less(t, peak, uint64(mostMemory))
	}
}

// newLargeFixture grows a tree of long chains that branch, by the verbs of the host.
func newLargeFixture(t *testing.T, n int) (*fixture, app.Request) {
	t.Helper()
	const tiny, clusters = 512, 64
	fabric := memory.NewFabric()
	host := func(name string) *memory.Host {
		return fabric.NewHost(memory.Config{Name: name, ClusterSize: tiny, BlockSize: tiny, Seed: 1})
	}
	b := &fixture{t: t, source: host("disk-1"), destination: host("disk-2")}
	ctx := context.Background()
	uuids := make([]string, n)
	for i := range n {
		uuid, err := b.source.Create(ctx, domain.InFlightLvolName(sourceName, "00000001"), clusters*tiny)
		require.NoError(t, err)
		require.NoError(t, b.source.WriteAt(uuid, strconv.AppendInt(nil, int64(i), 10), uint64(i%clusters)*tiny))
		if i > 0 {
			parent := i - 1
			if i%1000 == 0 {
				parent = i / 2
			}
			require.NoError(t, b.source.Graft(ctx, uuid, uuids[parent]))
		}
		uuids[i], err = b.source.Seal(ctx, uuid, domain.SnapshotLvolName(sourceName, fmt.Sprintf("s%d", i)), ports.SealRecord{Attributes: minute(i)})
		require.NoError(t, err)
	}
	_, err := b.source.Clone(ctx, uuids[n-1], sourceName, clusters*tiny, domain.RecordNoBase)
	require.NoError(t, err)
	return b, app.Request{
		Source: app.Site{Host: b.source, Replica: sourceName}, Destination: app.Site{Host: b.destination, Replica: copyName},
		Base: domain.NoBase(),
	}
}

// peakMemory is the most that the process ever had in memory, in bytes.
func peakMemory(t *testing.T) uint64 {
	t.Helper()
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Skipf("this system does not tell how much memory a process used: %v", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
			require.NoError(t, err)
			return kib << 10
		}
	}
	t.Skip("/proc/self/status has no VmHWM")
	return 0
}
