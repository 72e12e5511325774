package scenario_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/scenario"
)

// image and tree are the beginning of most cases below.
const (
	image = `backingImage: {name: base, size: 8MiB, writes: [{offset: 0, length: 8MiB, seed: 1}]}`
	tree  = `source: {snapshots: [{name: a}, {name: b, parent: a}]}`
)

func TestImpossibleScenariosRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, message string }{
		// names
		"a volume that cannot be named so":       {volume(`{name: vol 1, size: 16MiB}`), `f.yaml:2: volume.name: replica name "vol 1": expected letters, digits, '.', '_' and '-', a letter or digit first`},
		"a volume in flight":                     {volume(`{name: vol-rebuilding, size: 16MiB}`), `f.yaml:2: volume.name: replica name "vol-rebuilding": names that end like this are reserved for in-flight lvols`},
		"a volume with a long odd name":          {volume(`{name: "` + strings.Repeat("a b", 60) + `", size: 16MiB}`), `f.yaml:2: volume.name: replica name "` + strings.Repeat("a b", 20) + `"…: expected letters, digits, '.', '_' and '-', a letter or digit first`},
		"a volume with too long a name":          {volume(`{name: ` + strings.Repeat("v", 256) + `, size: 16MiB}`), `f.yaml:2: volume.name: expected a name of at most 255 bytes, got "` + strings.Repeat("v", 60) + `"… with 256`},
		"a volume whose head has too long a one": {volume(`{name: ` + strings.Repeat("v", 255) + `, size: 16MiB}`), `f.yaml:2: volume.name: expected a name of at most 255 bytes on this host, got "` + strings.Repeat("v", 60) + `"… with 259`},
		"a snapshot that cannot be named so":     {with(`source: {snapshots: [{name: a/b}]}`), `f.yaml:3: source.snapshots[0].name: snapshot name "a/b": expected letters, digits, '.', '_' and '-', a letter or digit first`},
		"a snapshot in flight":                   {with(`source: {snapshots: [{name: a-temp-head}]}`), `f.yaml:3: source.snapshots[0].name: snapshot name "a-temp-head": names that end in -rebuilding or -temp-head are reserved for in-flight lvols`},
		"a snapshot named none":                  {with(`source: {snapshots: [{name: none}]}`), `f.yaml:3: source.snapshots[0].name: snapshot name "none": it is reserved for "no parent"`},
		"two snapshots of one name":              {with(`source:`, `  snapshots:`, `    - {name: a}`, `    - {name: b, parent: a}`, `    - {name: a, parent: b}`), `f.yaml:7: source.snapshots[2].name: "a" is taken by source.snapshots[0]`},
		"two leftovers of one name":              {with(tree, `destination: {snapshots: [{name: x}, {name: x}]}`), `f.yaml:4: destination.snapshots[1].name: "x" is taken by destination.snapshots[0]`},
		"an lvol with the head's name":           {with(tree, `destination: {snapshots: [{name: a}], head: {}, lvols: [{name: vol-1-r-2}]}`), `f.yaml:4: destination.lvols[0].name: "vol-1-r-2" is taken by destination.head`},
		"an lvol with a leftover's name":         {with(tree, `destination: {snapshots: [{name: a}], lvols: [{name: vol-1-r-2-snap-a}]}`), `f.yaml:4: destination.lvols[0].name: "vol-1-r-2-snap-a" is taken by destination.snapshots[0]`},
		"an lvol with the image's name":          {with(tree, image, `destination: {lvols: [{name: bi-base-disk-`+scenario.DestinationStoreUUID+`}]}`), `f.yaml:5: destination.lvols[0].name: "bi-base-disk-` + scenario.DestinationStoreUUID + `" is taken by destination.image`},
		"an lvol with a space in its name":       {with(tree, `destination: {lvols: [{name: a b}]}`), `f.yaml:4: destination.lvols[0].name: lvol name "a b": expected printable characters without spaces and ~`},
		"an lvol named none":                     {with(tree, `destination: {lvols: [{name: none}]}`), `f.yaml:4: destination.lvols[0].name: lvol name "none": it is reserved for "no parent"`},
		"an image that cannot be named so":       {with(tree, `backingImage: {name: "-", size: 1MiB}`), `f.yaml:4: backingImage.name: backing image name "-": expected letters, digits, '.', '_' and '-', a letter or digit first`},
		"an image named none":                    {with(tree, `backingImage: {name: none, size: 1MiB}`), `f.yaml:4: backingImage.name: backing image name "none": it is reserved for "no backing image"`},
		"a leftover that upstream cannot name":   {with(tree, `destination: {flavour: upstream, snapshots: [{name: `+strings.Repeat("s", 49)+`}]}`), `f.yaml:4: destination.snapshots[0].name: expected a name of at most 63 bytes on this host, got "vol-1-r-2-snap-` + strings.Repeat("s", 45) + `"… with 64`},
		"an image that upstream cannot name":     {with(tree, `backingImage: {name: `+strings.Repeat("i", 19)+`, size: 1MiB}`, `destination: {flavour: upstream}`), `f.yaml:4: backingImage.name: expected a name of at most 63 bytes on this host, got "bi-iiiiiiiiiiiiiiiiiii-disk-d15c0002-5ce0-4a1d-8000-00000000"… with 64`},

		// parents
		"an unknown parent":                        {with(`source: {snapshots: [{name: a}, {name: b, parent: c}]}`), `f.yaml:3: source.snapshots[1].parent: expected the name of a snapshot of the source, got "c"`},
		"a parent by its full name":                {with(`source: {snapshots: [{name: a}, {name: b, parent: vol-1-r-1-snap-a}]}`), `f.yaml:3: source.snapshots[1].parent: expected the name of a snapshot of the source, got "vol-1-r-1-snap-a"`},
		"two ancestors":                            {with(`source:`, `  snapshots:`, `    - {name: a}`, `    - {name: b}`), `f.yaml:6: source.snapshots[1].parent: expected the name of a snapshot, since source.snapshots[0] is already the ancestor`},
		"two ancestors that say so":                {with(`source: {snapshots: [{name: a, parent: none}, {name: b, parent: none}]}`), `f.yaml:3: source.snapshots[1].parent: expected the name of a snapshot, since source.snapshots[0] is already the ancestor`},
		"a snapshot on itself":                     {with(`source: {snapshots: [{name: a, parent: a}]}`), `f.yaml:3: source.snapshots[0].parent: expected parents without a cycle, got "a" -> "a"`},
		"snapshots in a circle":                    {with(`source: {snapshots: [{name: r}, {name: a, parent: c}, {name: b, parent: a}, {name: c, parent: b}]}`), `f.yaml:3: source.snapshots[1].parent: expected parents without a cycle, got "a" -> "c" -> "b" -> "a"`},
		"snapshots in a large circle":              {with(`source: {snapshots: [{name: a, parent: f}, {name: b, parent: a}, {name: c, parent: b}, {name: d, parent: c}, {name: e, parent: d}, {name: f, parent: e}]}`), `f.yaml:3: source.snapshots[0].parent: expected parents without a cycle, got "a" -> "f" -> "e" -> "d" -> "c" -> …`},
		"a head on nothing over snapshots":         {with(`source: {snapshots: [{name: a}], head: {parent: none}}`), `f.yaml:3: source.head.parent: expected the name of a snapshot, since the source has some`},
		"a head on an unknown snapshot":            {with(`source: {snapshots: [{name: a}], head: {parent: b}}`), `f.yaml:3: source.head.parent: expected the name of a snapshot of the source, got "b"`},
		"a leftover on a snapshot of the source":   {with(tree, `destination: {snapshots: [{name: b, parent: a}]}`), `f.yaml:4: destination.snapshots[0].parent: expected the name of a snapshot or an lvol of the destination, or none, got "a"`},
		"leftovers in a circle":                    {with(tree, `destination: {snapshots: [{name: a, like: source, parent: b}, {name: b, like: source}]}`), `f.yaml:4: destination.snapshots[0].parent: expected parents without a cycle, got "a" -> "b" -> "a"`},
		"a leftover and an lvol in a circle":       {with(tree, `destination: {snapshots: [{name: a, parent: x}], lvols: [{name: x, parent: a, snapshot: true}]}`), `f.yaml:4: destination.snapshots[0].parent: expected parents without a cycle, got "a" -> "x" -> "a"`},
		"a leftover on a writable lvol":            {with(tree, `destination: {snapshots: [{name: a, parent: x}], lvols: [{name: x}]}`), `f.yaml:4: destination.snapshots[0].parent: expected a snapshot, but destination.lvols[0] is a writable lvol`},
		"a leftover on one of two":                 {with(tree, `destination: {snapshots: [{name: a, parent: x}, {name: x}], lvols: [{name: x, snapshot: true}]}`), `f.yaml:4: destination.snapshots[0].parent: expected a unique name, but "x" is both destination.snapshots[1] and destination.lvols[0]`},
		"an lvol on an unknown one":                {with(tree, `destination: {lvols: [{name: x, parent: y}]}`), `f.yaml:4: destination.lvols[0].parent: expected the name of a snapshot or an lvol of the destination, or none, got "y"`},
		"a destination's head on an unknown one":   {with(tree, `destination: {head: {parent: a}}`), `f.yaml:4: destination.head.parent: expected the name of a snapshot or an lvol of the destination, or none, got "a"`},
		"a leftover like one the source lacks":     {with(tree, `destination: {snapshots: [{name: c, like: source}]}`), `f.yaml:4: destination.snapshots[0].like: expected the name of a snapshot of the source, got "c"`},
		"a hurt source without an image":           {with(`source: {hurt: true}`), `f.yaml:3: source.hurt: expected false, since there is no backingImage or base to lose`},
		"another image where there is none at all": {with(tree, `destination: {image: {uuid: x}}`), `f.yaml:4: destination.image: expected present or absent, since there is no backingImage`},
		"an image with an odd UUID":                {with(tree, image, `destination: {image: {uuid: a_b}}`), `f.yaml:5: destination.image.uuid: expected at most 64 letters, digits and '-', got "a_b"`},

		// bases
		"a base and an image":                            {with(`source: {}`, image, baseWith(``)), `f.yaml:5: base: expected either backingImage or base, got both`},
		"a base of a volume that cannot be named so":     {with(`source: {}`, `base: {volume: a b, snapshot: s, snapshots: [{name: s}]}`), `f.yaml:4: base.volume: replica name "a b": expected letters, digits, '.', '_' and '-', a letter or digit first`},
		"a base of the volume itself":                    {with(`source: {}`, `base: {volume: vol-1, snapshot: s, snapshots: [{name: s}]}`), `f.yaml:4: base.volume: expected another volume than the clone itself, got "vol-1"`},
		"a base of the volume that its replica names":    {with(`source: {replica: vol-9-r-2}`, baseWith(``)), `f.yaml:4: base.volume: expected another volume than the clone itself, got "vol-9"`},
		"a base on an unknown snapshot":                  {with(`source: {}`, `base: {volume: vol-9, snapshot: x, snapshots: [{name: s}]}`), `f.yaml:4: base.snapshot: expected the name of a snapshot of the base, got "x"`},
		"a base on one of no snapshots":                  {with(`source: {}`, `base: {volume: vol-9, snapshot: x, snapshots: []}`), `f.yaml:4: base.snapshot: expected the name of a snapshot of the base, got "x"`},
		"a base with two snapshots of one name":          {with(`source: {}`, `base: {volume: vol-9, snapshot: s, snapshots: [{name: s}, {name: s, parent: s}]}`), `f.yaml:4: base.snapshots[1].name: "s" is taken by base.snapshots[0]`},
		"a base with a snapshot in flight":               {with(`source: {}`, `base: {volume: vol-9, snapshot: s, snapshots: [{name: s}, {name: a-temp-head, parent: s}]}`), `f.yaml:4: base.snapshots[1].name: snapshot name "a-temp-head": names that end in -rebuilding or -temp-head are reserved for in-flight lvols`},
		"a base with two ancestors":                      {with(`source: {}`, `base: {volume: vol-9, snapshot: s, snapshots: [{name: s}, {name: t}]}`), `f.yaml:4: base.snapshots[1].parent: expected the name of a snapshot, since base.snapshots[0] is already the ancestor`},
		"a base with an unknown parent":                  {with(`source: {}`, `base: {volume: vol-9, snapshot: s, snapshots: [{name: s}, {name: t, parent: x}]}`), `f.yaml:4: base.snapshots[1].parent: expected the name of a snapshot of the base, got "x"`},
		"a base in a circle":                             {with(`source: {}`, `base: {volume: vol-9, snapshot: s, snapshots: [{name: s, parent: s}]}`), `f.yaml:4: base.snapshots[0].parent: expected parents without a cycle, got "s" -> "s"`},
		"a base larger than the volume":                  {with(`source: {}`, `base: {volume: vol-9, snapshot: s, snapshots: [{name: s, size: 17MiB}]}`), `f.yaml:4: base.snapshots[0].size: expected at most the volume's size 16MiB, got 17MiB`},
		"a base of part of a cluster":                    {with(`source: {}`, `base: {volume: vol-9, snapshot: s, snapshots: [{name: s, size: 4097}]}`), `f.yaml:4: base.snapshots[0].size: expected a multiple of the cluster size 1MiB, got 4097 bytes`},
		"a snapshot of a base smaller than its parent":   {with(`source: {}`, `base: {volume: vol-9, snapshot: s, snapshots: [{name: s, size: 8MiB}, {name: t, parent: s, size: 4MiB}]}`), `f.yaml:4: base.snapshots[1].size: expected at least the size of its parent "s", 8MiB, got 4MiB`},
		"an ancestor smaller than its base":              {with(`source: {snapshots: [{name: a, size: 4MiB}]}`, baseWith(``)), `f.yaml:3: source.snapshots[0].size: expected at least the size of its parent "vol-9-r-0000000a-clone-ep-daily", 8MiB, got 4MiB`},
		"an image of a base larger than the volume":      {with(`source: {}`, baseWith(`, backingImage: {name: os, size: 17MiB}`)), `f.yaml:4: base.backingImage.size: expected at most the volume's size 16MiB, got 17MiB`},
		"an image of a base that cannot be named so":     {with(`source: {}`, baseWith(`, backingImage: {name: none, size: 1MiB}`)), `f.yaml:4: base.backingImage.name: backing image name "none": it is reserved for "no backing image"`},
		"a write beyond a base":                          {with(`source: {}`, `base: {volume: vol-9, snapshot: s, snapshots: [{name: s, size: 1MiB, writes: [{offset: 1MiB, length: 1, seed: 1}]}]}`), `f.yaml:4: base.snapshots[0].writes[0]: expected to end within 1MiB, got length 1 bytes at offset 1MiB`},
		"another tree with two ancestors":                {with(`source: {}`, baseWith(`, destination: {snapshots: [{name: s}, {name: t}]}`)), `f.yaml:4: base.destination.snapshots[1].parent: expected the name of a snapshot, since base.destination.snapshots[0] is already the ancestor`},
		"another tree with an unknown parent":            {with(`source: {}`, baseWith(`, destination: {snapshots: [{name: s, parent: daily}]}`)), `f.yaml:4: base.destination.snapshots[0].parent: expected the name of a snapshot of the base, got "daily"`},
		"another tree larger than the volume":            {with(`source: {}`, baseWith(`, destination: {snapshots: [{name: s, size: 17MiB}]}`)), `f.yaml:4: base.destination.snapshots[0].size: expected at most the volume's size 16MiB, got 17MiB`},
		"another image over a base":                      {with(`source: {}`, baseWith(``), `destination: {image: {uuid: x}}`), `f.yaml:5: destination.image: expected present or absent, since there is no backingImage`},
		"a source on an lvol of the base":                {with(`source: {snapshots: [{name: a, parent: vol-9-r-0000000a-snap-daily}]}`, baseWith(``)), `f.yaml:3: source.snapshots[0].parent: expected the name of a snapshot of the source, got "vol-9-r-0000000a-snap-daily"`},
		"a leftover on the head of the base":             {with(tree, baseWith(``), `destination: {snapshots: [{name: a, parent: vol-9-r-0000000b}]}`), `f.yaml:5: destination.snapshots[0].parent: expected a snapshot, but base is a writable lvol`},
		"a leftover on an entry point that is not there": {with(tree, baseWith(`, destination: no-entry-point`), `destination: {snapshots: [{name: a, parent: vol-9-r-0000000b-clone-ep-daily}]}`), `f.yaml:5: destination.snapshots[0].parent: expected the name of a snapshot or an lvol of the destination, or none, got "vol-9-r-0000000b-clone-ep-daily"`},
		"an lvol with the name of an entry point":        {with(`source: {}`, baseWith(``), `destination: {lvols: [{name: vol-9-r-0000000b-clone-ep-daily}]}`), `f.yaml:5: destination.lvols[0].name: "vol-9-r-0000000b-clone-ep-daily" is taken by base.snapshot`},
		"an entry point that upstream cannot name":       {with(`source: {}`, `base: {volume: `+strings.Repeat("v", 45)+`, snapshot: s, snapshots: [{name: s}]}`, `destination: {flavour: upstream}`), `f.yaml:4: base.snapshot: expected a name of at most 63 bytes on this host, got "` + strings.Repeat("v", 45) + `-r-0000000b-clo"… with 67`},

		// sizes
		"a volume of part of a cluster":          {volume(`{name: vol-1, size: 1536KiB}`), `f.yaml:2: volume.size: expected a multiple of the cluster size 1MiB, got 1536KiB`},
		"a volume of an odd number of bytes":     {volume(`{name: vol-1, size: 16777217}`), `f.yaml:2: volume.size: expected a multiple of the cluster size 1MiB, got 16777217 bytes`},
		"clusters of no power of two":            {volume(`{name: vol-1, size: 3MiB, clusterSize: 3MiB}`), `f.yaml:2: volume.clusterSize: expected a power of two from 4KiB to 1GiB, got 3MiB`},
		"clusters that are too small":            {volume(`{name: vol-1, size: 3MiB, clusterSize: 2KiB}`), `f.yaml:2: volume.clusterSize: expected a power of two from 4KiB to 1GiB, got 2KiB`},
		"clusters that are too large":            {volume(`{name: vol-1, size: 4GiB, clusterSize: 2GiB}`), `f.yaml:2: volume.clusterSize: expected a power of two from 4KiB to 1GiB, got 2GiB`},
		"the destination's clusters, the same":   {with(tree, `destination: {clusterSize: 5MiB}`), `f.yaml:4: destination.clusterSize: expected a power of two from 4KiB to 1GiB, got 5MiB`},
		"more free clusters than a store has":    {with(tree, `destination: {freeClusters: 1099511627777}`), `f.yaml:4: destination.freeClusters: expected a whole number from 0 to 1099511627776, got 1099511627777`},
		"a snapshot of part of a cluster":        {with(`source: {snapshots: [{name: a, size: 4097}]}`), `f.yaml:3: source.snapshots[0].size: expected a multiple of the cluster size 1MiB, got 4097 bytes`},
		"a snapshot larger than the volume":      {with(`source: {snapshots: [{name: a, size: 17MiB}]}`), `f.yaml:3: source.snapshots[0].size: expected at most the volume's size 16MiB, got 17MiB`},
		"a snapshot smaller than its parent":     {with(`source: {snapshots: [{name: a, size: 8MiB}, {name: b, parent: a, size: 7MiB}]}`), `f.yaml:3: source.snapshots[1].size: expected at least the size of its parent "a", 8MiB, got 7MiB`},
		"a parent larger by default":             {with(`source:`, `  snapshots:`, `    - {name: b, parent: a, size: 7MiB}`, `    - {name: a}`), `f.yaml:5: source.snapshots[0].size: expected at least the size of its parent "a", 16MiB, got 7MiB`},
		"an ancestor smaller than the image":     {with(`source: {snapshots: [{name: a, size: 4MiB}]}`, image), `f.yaml:3: source.snapshots[0].size: expected at least the size of its parent "base", 8MiB, got 4MiB`},
		"an image larger than the volume":        {with(tree, `backingImage: {name: base, size: 17MiB}`), `f.yaml:4: backingImage.size: expected at most the volume's size 16MiB, got 17MiB`},
		"an image of part of a cluster":          {with(tree, `backingImage: {name: base, size: 4KiB}`), `f.yaml:4: backingImage.size: expected a multiple of the cluster size 1MiB, got 4KiB`},
		"another image of part of a cluster":     {with(tree, image, `destination: {clusterSize: 2MiB, image: {size: 1MiB}}`), `f.yaml:5: destination.image.size: expected a multiple of the destination's cluster size 2MiB, got 1MiB`},
		"a leftover of part of a larger cluster": {volume(`{name: vol-1, size: 6MiB}`) + "destination:\n  clusterSize: 4MiB\n  snapshots: [{name: a}]\n", `f.yaml:6: destination.snapshots[0].size: expected a multiple of the destination's cluster size 4MiB, got 6MiB`},
		"an lvol of part of a larger cluster":    {volume(`{name: vol-1, size: 6MiB}`) + "destination: {clusterSize: 4MiB, lvols: [{name: a}]}\n", `f.yaml:4: destination.lvols[0].size: expected a multiple of the destination's cluster size 4MiB, got 6MiB`},

		// writes
		"a write beyond the snapshot":         {with(`source: {snapshots: [{name: a, size: 8MiB, writes: [{offset: 8388607, length: 2, seed: 1}]}]}`), `f.yaml:3: source.snapshots[0].writes[0]: expected to end within 8MiB, got length 2 bytes at offset 8388607 bytes`},
		"a write that begins beyond":          {with(`source: {head: {writes: [{offset: 64TiB, length: 64TiB, seed: 1}]}}`), `f.yaml:3: source.head.writes[0]: expected to end within 16MiB, got length 64TiB at offset 64TiB`},
		"a write beyond the image":            {with(tree, `backingImage: {name: base, size: 1MiB, writes: [{offset: 1MiB, length: 1, seed: 1}]}`), `f.yaml:4: backingImage.writes[0]: expected to end within 1MiB, got length 1 bytes at offset 1MiB`},
		"a write beyond another image":        {with(tree, image, `destination: {image: {size: 1MiB, writes: [{offset: 0, length: 2MiB, seed: 1}]}}`), `f.yaml:5: destination.image.writes[0]: expected to end within 1MiB, got length 2MiB at offset 0 bytes`},
		"a write beyond a leftover":           {with(tree, `destination: {snapshots: [{name: a, like: source, size: 1MiB, writes: [{offset: 0, length: 2MiB, seed: 1}]}]}`), `f.yaml:4: destination.snapshots[0].writes[0]: expected to end within 1MiB, got length 2MiB at offset 0 bytes`},
		"a write beyond an lvol":              {with(tree, `destination: {lvols: [{name: x, size: 1MiB, writes: [{offset: 0, length: 2MiB, seed: 1}]}]}`), `f.yaml:4: destination.lvols[0].writes[0]: expected to end within 1MiB, got length 2MiB at offset 0 bytes`},
		"more bytes than memory has":          {volume(`{name: vol-1, size: 64TiB}`) + "backingImage:\n  {name: b, size: 5GiB, writes: [{offset: 0, length: 5GiB, seed: 1}]}\n", `f.yaml:5: backingImage: expected at most 4GiB of writes in the whole scenario, got more`},
		"as many bytes in two places":         {volume(`{name: vol-1, size: 64TiB}`) + "backingImage:\n  {name: b, size: 3GiB, writes: [{offset: 0, length: 3GiB, seed: 1}]}\n", `f.yaml:1: destination.image: expected at most 4GiB of writes in the whole scenario, got more`},
		"small writes into enormous clusters": {volume(`{name: vol-1, size: 64TiB, clusterSize: 1GiB}`) + "backingImage:\n  {name: b, size: 9GiB, writes: [" + strings.Repeat("{offset: 1023MiB, length: 2MiB, seed: 1}, ", 9) + "]}\n", `f.yaml:5: backingImage: expected writes that touch at most 16GiB of clusters in the whole scenario, got more`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := scenario.ParseBytes("f.yaml", "", []byte(c.text))
			requireProblem(t, err, c.message)
		})
	}
}

func TestInvalidImageFileRefused(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, size int64) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		require.NoError(t, os.Truncate(path, size))
		return path
	}
	file("empty", 0)
	file("large", 15<<20+1)
	file("enormous", 5<<30)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	for given, problem := range map[string]string{
		"missing":   `"missing" cannot be read: no such file or directory`,
		"folder":    `expected a file, but "folder" is a directory`,
		"empty":     `expected a file that is not empty, but "empty" is empty`,
		"large":     `expected at most the volume's size 15MiB, got 16MiB`,
		"enormous":  `expected a file of at most 4GiB, but "enormous" has 5GiB`,
		"/dev/zero": `expected a file, but "/dev/zero" is not a regular file`,
		"a\nb":      `"a\nb" cannot be read: no such file or directory`,
	} {
		t.Run(given, func(t *testing.T) {
			text := volume(`{name: vol-1, size: 15MiB}`) + fmt.Sprintf("backingImage: {name: base, file: %q}\n", given)
			_, err := scenario.ParseBytes("f.yaml", dir, []byte(text))
			requireProblem(t, err, "f.yaml:4: backingImage.file: "+problem)
		})
	}

	t.Run("one that goes away before it is read", func(t *testing.T) {
		for text, field := range map[string]string{
			"backingImage: {name: base, file: gone}\n": "f.yaml:4: backingImage.file",
			"base:\n  volume: vol-9\n  snapshot: s\n  snapshots: [{name: s}]\n  backingImage:\n    name: os\n    file: gone\n": "f.yaml:10: base.backingImage.file",
		} {
			path := file("gone", 4096)
			s, err := scenario.ParseBytes("f.yaml", dir, []byte(smallest+text))
			require.NoError(t, err)
			require.NoError(t, os.Remove(path))
			_, err = s.Build()
			requireProblem(t, err, field+`: "gone" cannot be read: no such file or directory`)
		}
	})
}

func TestScenarioWithoutFileIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		breakIt func(*scenario.Scenario)
		message string
	}{
		"no name":          {func(s *scenario.Scenario) { s.Volume.Name = "" }, `volume.name: a replica needs a name`},
		"no size":          {func(s *scenario.Scenario) { s.Volume.Size = 0 }, `volume.size: expected a size of more than 0 bytes, got 0`},
		"an enormous size": {func(s *scenario.Scenario) { s.Volume.Size = 1 << 60 }, `volume.size: expected a size of at most 64TiB, got 1048576TiB`},
		"a write that wraps": {func(s *scenario.Scenario) {
			s.Source.Snapshots[0].Writes = []scenario.Write{{Offset: 1 << 20, Length: 1<<64 - 1}}
		}, `source.snapshots[0].writes[0]: expected to end within 16MiB, got length 18446744073709551615 bytes at offset 1MiB`},
		"negative copies":    {func(s *scenario.Scenario) { s.Options.Parallel = -1 }, `options.parallel: expected a whole number from 1 to 1024, got -1`},
		"negative runs":      {func(s *scenario.Scenario) { s.Runs = -1 }, `runs: expected a whole number from 1 to 100, got -1`},
		"two kinds of image": {func(s *scenario.Scenario) { s.Image = &scenario.BackingImage{Name: "b", File: "x", Size: 1} }, `backingImage.file: expected either file, or size and writes, got both`},
		"no image and another": {func(s *scenario.Scenario) {
			s.Image = &scenario.BackingImage{Name: "b", Size: 1 << 20}
			s.Destination.ImageAbsent, s.Destination.OtherImage = true, &scenario.OtherImage{}
		}, `destination.image: expected either no image or another one, got both`},
		"an unknown state of a base": {func(s *scenario.Scenario) {
			s.Base = smallBase()
			s.Base.Destination = "gone"
		}, `base.destination: expected present, no-entry-point, no-snapshot, absent, or a mapping with the field snapshots, got "gone"`},
		"a state of a base and another tree": {func(s *scenario.Scenario) {
			s.Base = smallBase()
			s.Base.Destination, s.Base.OtherTree = scenario.BaseAbsent, []scenario.Snapshot{}
		}, `base.destination: expected either a state or other snapshots, got both`},
		"a name without end": {func(s *scenario.Scenario) { s.Source.Snapshots[0].Name = strings.Repeat("x", 1<<20) }, `source.snapshots[0].name: expected a name of at most 255 bytes, got "` + strings.Repeat("x", 60) + `"… with 1048576`},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scenario.Scenario{
				Volume: scenario.Volume{Name: "vol-1", Size: 16 << 20},
				Source: scenario.Source{Snapshots: []scenario.Snapshot{{Name: "a"}}},
			}
			_, err := s.Build()
			require.NoError(t, err)
			c.breakIt(s)
			_, err = s.Build()
			requireProblem(t, err, c.message)
		})
	}
}

func smallBase() *scenario.Base {
	return &scenario.Base{Volume: "vol-9", Snapshot: "s", Snapshots: []scenario.Snapshot{{Name: "s"}}}
}
