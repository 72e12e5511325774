package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A linked clone, what its destination has of the source volume, and its leftovers.
const simulatedClone = `
apiVersion: rebuild/v1
volume: {name: vol-1, size: 1MiB, clusterSize: 64KiB}
base:
  volume: vol-9
  snapshot: daily
  %s
  snapshots:
    - {name: first, size: 512KiB, writes: [{offset: 128KiB, length: 256KiB, seed: 91}]}
    - {name: daily, parent: first, size: 768KiB, writes: [{offset: 320KiB, length: 128KiB, seed: 92}]}
    - {name: later, parent: daily, writes: [{offset: 0, length: 64KiB, seed: 93}]}
  destination: %s
source:
  snapshots:
    - {name: a, writes: [{offset: 64KiB, length: 100000, seed: 1}]}
    - {name: b, parent: a, writes: [{offset: 512KiB, length: 64KiB, seed: 2}]}
destination:
  flavour: %s
  %s
`

// cloneBases are states of the source volume on the destination, and the replica that has
// to be rebuilt first; "": none.
var cloneBases = map[string]struct{ state, first string }{
	"the same":               {"present", ""},
	"no entry point":         {"no-entry-point", ""},
	"the snapshots it needs": {`{snapshots: [` + firstOf91 + `, {name: daily, parent: first, size: 768KiB, writes: [{offset: 320KiB, length: 128KiB, seed: 92}]}]}`, ""},
	"no snapshot":            {"no-snapshot", "vol-9-r-0000000b"},
	"nothing":                {"absent", "vol-9"},
	"other bytes":            {`{snapshots: [` + firstOf91 + `, {name: daily, parent: first, size: 768KiB, writes: [{offset: 320KiB, length: 128KiB, seed: 7}]}]}`, "vol-9-r-0000000b"},
	"another size":           {`{snapshots: [{name: daily, size: 512KiB}]}`, "vol-9-r-0000000b"},
	"another parent":         {`{snapshots: [{name: daily, size: 768KiB, writes: [{offset: 320KiB, length: 128KiB, seed: 92}]}]}`, "vol-9-r-0000000b"},
}

const firstOf91 = `{name: first, size: 512KiB, writes: [{offset: 128KiB, length: 256KiB, seed: 91}]}`

var cloneLeftovers = map[string]string{
	"nothing left":     "",
	"all left":         "snapshots: [{name: a, like: source}, {name: b, like: source}]\n  head: {}",
	"entry point lost": "snapshots: [{name: a, like: source, parent: none}, {name: b, like: source}]\n  head: {}",
	"outdated":         "snapshots: [{name: a, writes: [{offset: 0, length: 64KiB, seed: 5}]}]",
	"a head alone":     "head: {writes: [{offset: 0, length: 1, seed: 5}]}",
}

// Whatever the destination has, the ancestor ends on the entry point and every view is the
// source's, or the rebuild is refused and names the replica to rebuild first.
func TestSimulatedLinkedCloneIsRebuiltOrRefused(t *testing.T) {
	for base, b := range cloneBases {
		for what, leftover := range cloneLeftovers {
			t.Run(base+", "+what, func(t *testing.T) {
				t.Parallel()
				told := simulateClone(t, "", b.state, "fork", leftover)
				if b.first == "" {
					requireClonesEqual(t, told)
					return
				}
				require.Equal(t, "refused", string(told.Outcome), told.Error)
				require.Contains(t, told.Error, b.first)
				require.Regexp(t, "rebuild .* first$", told.Error)
			})
		}
	}
}

func TestSimulatedLinkedCloneOfVolumeWithImage(t *testing.T) {
	const image = "backingImage: {name: os, size: 192KiB, writes: [{offset: 0, length: 192KiB, seed: 90}]}"
	for _, flavour := range []string{"fork", "upstream"} {
		for what, leftover := range cloneLeftovers {
			t.Run(flavour+", "+what, func(t *testing.T) {
				t.Parallel()
				requireClonesEqual(t, simulateClone(t, image, "no-entry-point", flavour, leftover))
			})
		}
	}
}

func TestSimulatedLinkedCloneOnSnapshotItselfIsIsolated(t *testing.T) {
	const leftover = `snapshots: [{name: a, like: source, parent: vol-9-r-0000000b-snap-daily}, {name: b, like: source}]`
	for _, state := range []string{"present", "no-entry-point"} {
		told := simulateClone(t, "", state, "fork", leftover)
		requireClonesEqual(t, told)
		require.Zero(t, told.CopiedBytes, "a graft cures it")
	}
}

func simulateClone(t *testing.T, image, state, flavour, leftover string) simulated {
	t.Helper()
	text := fmt.Sprintf(simulatedClone, image, state, flavour, leftover)
	file := filepath.Join(t.TempDir(), "clone.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	told := engine(t, "simulate", file, "--output", "json")
	var result simulated
	require.NoError(t, json.Unmarshal([]byte(told.stdout), &result), told.stderr)
	return result
}

func requireClonesEqual(t *testing.T, told simulated) {
	t.Helper()
	require.Equal(t, "complete", string(told.Outcome), told.Error)
	require.Empty(t, told.Violations)
	require.Equal(t, "clone:vol-9@daily", told.Destination.Base)
	require.Len(t, told.Destination.Snapshots, 2)
	require.Equal(t, "clone:vol-9@daily", told.Destination.Snapshots[0].Parent)
	require.Equal(t, "a", told.Destination.Snapshots[1].Parent)
	for i, s := range told.Destination.Snapshots {
		require.Equal(t, told.Source.Snapshots[i].SHA256, s.SHA256, s.Name)
	}
	require.Equal(t, told.Source.Head.SHA256, told.Destination.Head.SHA256)
	views := make(map[string]string)
	for _, l := range told.Source.Others {
		views[strings.Replace(l.Name, "-r-0000000a", "-r-0000000b", 1)] = l.SHA256
	}
	for _, l := range told.Destination.Others {
		if strings.Contains(l.Name, "-snap-") || strings.Contains(l.Name, "-clone-ep-") {
			require.Equal(t, views[l.Name], l.SHA256, "%s of the source volume", l.Name)
		}
		require.NotContains(t, l.Name, "-rebuilding")
		require.NotContains(t, l.Name, "-tmp-head")
	}
}
