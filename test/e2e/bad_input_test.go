package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

// Invalid requests to a real target are a one-line error with the place and what was
// expected, and neither host changes.
func TestBadInputChangesNothing(t *testing.T) {
	onEach(t, within, func(t *testing.T, target, _ *targettest.Target) {
		const clusters = 4
		source := newPlace(t, target, 64)
		source.importImage(t, noises(7, 2))
		snap := source.snapshot(t, "vol-1-r-0a1b2c3d", "s1", source.image, clusters, createdAt(0), map[int]uint64{0: 1, 1: 2, 2: 3})
		source.head(t, "vol-1-r-0a1b2c3d", snap, clusters)
		source.snapshot(t, "vol-2-r-0a1b2c3d", "s1", source.image, clusters, createdAt(0), nil) // half there: it has no head
		limit := source.store(t).NameLimit

		roomy := newPlace(t, target, 64)
		roomy.importImage(t, noises(7, 2))
		small := newPlace(t, target, 3)
		full := newPlace(t, target, 16)
		full.importImage(t, noises(7, 2))
		filler, err := full.host.Create(t.Context(), "filler", 64*clusterSize)
		require.NoError(t, err)
		full.target.Write(t, filler, noises(9, int(full.store(t).FreeClusters)), 0)
		require.Zero(t, full.store(t).FreeClusters)
		coarse := openPlace(t, target, target.NewStoreOf(t, 16, 4*clusterSize))

		good, there := source.address("vol-1-r-0a1b2c3d"), roomy.address("vol-1-r-4e5f6a7b")
		named := func(name string) string { return roomy.address(url.QueryEscape(name)) }
		long := func(n int) string { return strings.Repeat("v", n) }
		for _, test := range []struct {
			name         string
			from, to     string
			status       int
			says         []string
			onlyUpstream bool
		}{
			{"no socket there", good, address(target.Socket+"x", roomy.lvstore, "vol-1-r-4e5f6a7b"), 1, []string{target.Socket + "x", "no such file"}, false},
			{"an lvstore that is not there", good, address(target.Socket, "none", "vol-1-r-4e5f6a7b"), 1, []string{"none", "not found; available", source.lvstore}, false},
			{"a source's lvstore that is not there", address(target.Socket, "none", "vol-1-r-0a1b2c3d"), there, 1, []string{"none", "not found; available"}, false},
			{"an lvstore that is full", good, full.address("vol-1-r-4e5f6a7b"), 1, []string{full.lvstore, "0 are free"}, false},
			{"an lvstore that is too small", good, small.address("vol-1-r-4e5f6a7b"), 1, []string{small.lvstore, "free"}, false},
			{"an lvstore of another cluster size", good, coarse.address("vol-1-r-4e5f6a7b"), 1, []string{fmt.Sprint(clusterSize), fmt.Sprint(4 * clusterSize)}, false},
			{"a source that is not there", source.address("vol-9-r-0a1b2c3d"), there, 1, []string{"replica vol-9-r-0a1b2c3d not found", source.lvstore}, false},
			{"a source that is half there", source.address("vol-2-r-0a1b2c3d"), there, 1, []string{"vol-2-r-0a1b2c3d", "no head"}, false},
			{"a source that is the destination", good, good, 1, []string{"both source and destination"}, false},
			{"an unknown key", good + "&lsv=x", there, 2, []string{"unknown key", "lsv", "expected"}, false},
			{"no replica", good, "unix://" + target.Socket + "?lvs=" + roomy.lvstore, 2, []string{"--destination", "expected"}, false},
			{"a name with a slash", good, named("vol/1"), 2, []string{"vol/1", "expected letters"}, false},
			{"a name with a space", good, named("vol 1"), 2, []string{"vol 1", "expected letters"}, false},
			{"a name in unicode", good, named("völ-1"), 2, []string{"völ-1", "expected letters"}, false},
			{"a name of 64 characters", good, named(long(64)), 1, []string{"63", roomy.lvstore}, true},
			{"a name of 300 characters", good, named(long(300)), 1, []string{fmt.Sprint(limit), roomy.lvstore}, false},
		} {
			t.Run(test.name, func(t *testing.T) {
				if test.onlyUpstream && limit > 64 {
					t.Skip("this target takes such a name")
				}
				before := listings(t, target)
				for _, command := range []string{"rebuild", "plan"} {
					requireOneClearLine(t, test.status, test.says, command, "--source", test.from, "--destination", test.to, "--image", imageName)
				}
				require.Equal(t, before, listings(t, target), "something was changed")
			})
		}
	})
}

// listings are all lists of a target: stores, exports and attached controllers.
func listings(t *testing.T, target *targettest.Target) string {
	t.Helper()
	var all strings.Builder
	for _, method := range []string{"bdev_lvol_get_lvstores", "bdev_lvol_get_lvols", "bdev_get_bdevs", "nvmf_get_subsystems", "bdev_nvme_get_controllers"} {
		var list json.RawMessage
		target.Call(t, method, nil, &list)
		fmt.Fprintf(&all, "%s %s\n", method, list)
	}
	return all.String()
}
