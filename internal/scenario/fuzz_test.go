package scenario_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/scenario"
)

// FuzzParse: for any bytes, there is no panic, an error is one short line of this
// package, and an accepted scenario can be built, if it is small enough.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob(examples + "/*.yaml")
	require.NoError(f, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(small(text))
	}
	for _, text := range []string{
		smallest,
		volume(`{name: vol-1, size: 1024KiB, clusterSize: 64KiB}`) + "backingImage: {name: ext2, file: disk.img}\n",
		with(image, chain, `destination: {clusterSize: 2MiB, freeClusters: 0, flavour: upstream, image: {uuid: x, size: 2MiB, writes: []}}`, `options: {fast: false, parallel: 2}`, `runs: 2`),
		smallest + "online: {members: 3, writers: 2, seed: 7, freezeLimit: 1s, dies: {member: 3, call: copy, nth: 2}, snapshot: {name: now, call: graft}}\n",
		smallest + "runs: 2\nfaults: [{call: copy, nth: 2, side: source, error: cut-off, times: 3}, {crash: {call: graft, nth: 1, run: 2, of: target, after: true}}]\n",
		with(tree, `destination: {snapshots: [{name: a, parent: x}], lvols: [{name: x, parent: none, snapshot: true}]}`),
		with(tree, baseWith(baseImage+`, destination: no-entry-point`), `destination: {snapshots: [{name: a, parent: vol-9-r-0000000b-snap-daily}]}`),
		with(`source: {hurt: true}`, baseWith(`, destination: {snapshots: [{name: first}, {name: daily, parent: first}]}`)),
		"apiVersion: rebuild/v1\nvolume: &v {name: *v, size: !!str 1}\nsource: {<<: *v}\n",
		`{"apiVersion": "rebuild/v1", "volume": {"name": "v", "size": 4096, "clusterSize": "4KiB"}, "source": {"head": null}}`,
	} {
		f.Add(small([]byte(text)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := scenario.ParseBytes("f.yaml", examples, data)
		if err == nil && isSmall(s) {
			_, err = s.Build()
			require.NoError(t, err)
		}
		if err == nil {
			return
		}
		failed, ours := errors.AsType[*scenario.Error](err)
		require.True(t, ours, "%T", err)
		require.NotEmpty(t, failed.Problem)
		require.GreaterOrEqual(t, failed.Line, 0)
		requireOneLine(t, err)
		require.True(t, strings.HasPrefix(err.Error(), "f.yaml:"))
	})
}

var inMiB = regexp.MustCompile(`(\d+)MiB`)

// small removes comments and replaces each MiB by 4 KiB, to keep mutations short.
func small(text []byte) []byte {
	var lines []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			lines = append(lines, line)
		}
	}
	shrunk := inMiB.ReplaceAllStringFunc(strings.Join(lines, ""), func(size string) string {
		n, _ := strconv.Atoi(strings.TrimSuffix(size, "MiB"))
		return fmt.Sprint(4*n, "KiB")
	})
	shrunk = strings.ReplaceAll(shrunk, "vol-1, size: 64KiB}", "vol-1, size: 64KiB, clusterSize: 4KiB}")
	return []byte(strings.NewReplacer("5636096", "22016", "1572864", "6144").Replace(shrunk))
}

func isSmall(s *scenario.Scenario) bool {
	const most = 256 * kib
	if s.Volume.ClusterSize > mib || s.Destination.ClusterSize > mib {
		return false
	}
	var all []scenario.Write
	snapshots, images := s.Source.Snapshots, []*scenario.BackingImage{s.Image}
	if s.Base != nil {
		snapshots = slices.Concat(snapshots, s.Base.Snapshots, s.Base.OtherTree)
		images = append(images, s.Base.Image)
	}
	for _, image := range images {
		if image == nil {
			continue
		}
		if image.Size > most {
			return false
		}
		all = append(all, image.Writes...)
	}
	for _, head := range []*scenario.Head{s.Source.Head, s.Destination.Head} {
		if head != nil {
			all = append(all, head.Writes...)
		}
	}
	for _, snapshot := range snapshots {
		all = append(all, snapshot.Writes...)
	}
	for _, leftover := range s.Destination.Snapshots {
		all = append(all, leftover.Writes...)
	}
	for _, lvol := range s.Destination.Lvols {
		all = append(all, lvol.Writes...)
	}
	if other := s.Destination.OtherImage; other != nil {
		if other.Size > most {
			return false
		}
		all = append(all, other.Writes...)
	}
	var written uint64
	for _, w := range all {
		written += w.Length
	}
	return written <= most
}
