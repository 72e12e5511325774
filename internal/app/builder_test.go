package app_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// builtHost is a host that replicas are built on, in memory or on a target.
type builtHost struct {
	ports.Host

	cluster uint64
	write   func(uuid string, at int, b byte) // one whole cluster
}

func memoryHost(t tester, host *memory.Host) builtHost {
	return builtHost{host, cluster, func(uuid string, at int, b byte) {
		t.Helper()
		require.NoError(t, host.WriteAt(uuid, filled(b), uint64(at)*cluster))
	}}
}

// builder makes a replica by the verbs of its host.
type builder struct {
	builtHost

	t       tester
	replica string
	image   string // UUID; "": none
	made    int
	uuids   map[string]string // of snapshots by name
}

func newBuilder(t tester, host *memory.Host, replica, image string) *builder {
	return newBuilderOn(t, memoryHost(t, host), replica, image)
}

func newBuilderOn(t tester, host builtHost, replica, image string) *builder {
	return &builder{builtHost: host, t: t, replica: replica, image: image, uuids: make(map[string]string)}
}

// build makes what is drawn, as the fixtures of package domain draw it:
//
//	clusters 6               all lvols that follow have so many; 8 if nothing is said
//	image                    the builder's
//	  snap11 0=10            a snapshot on it, whose cluster 0 is full of the byte 10
//	    snap12 1=11 4=12
//	      head 7=99
//	snap14 at=3              without a parent, and as old as the fourth
//	  flight:0badcafe        an lvol in flight
//	lvol:vol-7               an lvol of that name
//
// What is indented has the lvol as its parent that it is indented under. The n-th snapshot
// is as old as minute(n-1). A line ends at a #.
func (b *builder) build(tree string) *builder {
	b.t.Helper()
	type level struct {
		indent int
		uuid   string
	}
	var levels []level
	clusters, age := worldClusters, 0
	for line := range strings.Lines(tree) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if words[0] == "clusters" {
			clusters = b.number(words[1])
			continue
		}
		indent, parent := len(line)-len(strings.TrimLeft(line, " \t")), ""
		for len(levels) > 0 && levels[len(levels)-1].indent >= indent {
			levels = levels[:len(levels)-1]
		}
		if len(levels) > 0 {
			parent = levels[len(levels)-1].uuid
		}
		own, at := b.content(words[1:], age)
		var uuid string
		switch kind, name, special := strings.Cut(words[0], ":"); {
		case kind == "image":
			uuid = b.image
		case kind == "head":
			uuid = b.written(b.writable(b.replica, parent, clusters), own)
		case kind == "flight":
			uuid = b.written(b.writable(domain.InFlightLvolName(b.replica, name), parent, clusters), own)
		case kind == "lvol":
			uuid = b.written(b.writable(name, parent, clusters), own)
		default:
			require.False(b.t, special, "%q is no kind of lvol", kind)
			uuid = b.snapshot(kind, parent, clusters, own, minute(at))
			age++
		}
		levels = append(levels, level{indent, uuid})
	}
	return b
}

// content reads N=BYTE of clusters and at=MINUTE.
func (b *builder) content(words []string, age int) (own map[int]byte, at int) {
	own, at = make(map[int]byte), age
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		if key == "at" {
			at = b.number(value)
			continue
		}
		own[b.number(key)] = byte(b.number(value))
	}
	return own, at
}

func (b *builder) number(text string) int {
	n, err := strconv.Atoi(text)
	require.NoError(b.t, err)
	return n
}

// written fills clusters of an lvol.
func (b *builder) written(uuid string, own map[int]byte) string {
	for _, at := range slices.Sorted(maps.Keys(own)) {
		b.write(uuid, at, own[at])
	}
	return uuid
}

// head is the UUID of the head.
func (b *builder) head() string {
	listing, err := b.List(context.Background())
	require.NoError(b.t, err)
	at := slices.IndexFunc(listing.Lvols, func(l domain.Lvol) bool { return l.Name == b.replica })
	require.GreaterOrEqual(b.t, at, 0, "replica %s has no head", b.replica)
	return listing.Lvols[at].UUID
}

// writable makes an lvol of that name on a snapshot ("": nothing).
func (b *builder) writable(name, parent string, clusters int) string {
	b.t.Helper()
	uuid, err := b.Clone(context.Background(), parent, name, uint64(clusters)*b.cluster, "")
	require.NoError(b.t, err)
	return uuid
}

// snapshot makes a snapshot with these own clusters, position and content.
func (b *builder) snapshot(name, parent string, clusters int, own map[int]byte, attributes domain.Attributes) string {
	b.t.Helper()
	b.made++
	inFlight := domain.InFlightLvolName(b.replica, fmt.Sprintf("%08x", b.made))
	b.uuids[name] = b.seal(inFlight, parent, clusters, own, domain.SnapshotLvolName(b.replica, name), ports.SealRecord{Attributes: attributes})
	return b.uuids[name]
}

func (b *builder) seal(inFlight, parent string, clusters int, own map[int]byte, name string, record ports.SealRecord) string {
	b.t.Helper()
	ctx := context.Background()
	uuid, err := b.Create(ctx, inFlight, uint64(clusters)*b.cluster)
	require.NoError(b.t, err)
	b.written(uuid, own)
	if parent != "" {
		require.NoError(b.t, b.Graft(ctx, uuid, parent))
	}
	sealed, err := b.Seal(ctx, uuid, name, record)
	require.NoError(b.t, err)
	return sealed
}

// makeImage makes the backing image, the same on every host, and builds on it.
func (b *builder) makeImage(clusters int) *builder {
	own := make(map[int]byte)
	for at := range clusters {
		own[at] = byte(200 + at)
	}
	return b.makeImageOf(clusters, own)
}

func (b *builder) makeImageOf(clusters int, own map[int]byte) *builder {
	b.t.Helper()
	listing, err := b.List(context.Background())
	require.NoError(b.t, err)
	record := ports.SealRecord{Image: &domain.ImageRecord{UUID: "8f5fd5be", Checksum: "sha512"}}
	b.image = b.seal(domain.ImageInFlightLvolName("00000001"), "", clusters, own, domain.ImageLvolName(imageName, listing.UUID), record)
	return b
}

// makeImage makes the backing image, the same on every host.
func makeImage(t tester, host *memory.Host, clusters int) string {
	t.Helper()
	return newBuilder(t, host, "", "").makeImage(clusters).image
}

func filled(b byte) []byte {
	p := make([]byte, cluster)
	for i := range p {
		p[i] = b
	}
	return p
}

func minute(n int) domain.Attributes {
	return domain.Attributes{CreatedAt: time.Date(2026, 1, 1, 0, n, 0, 0, time.UTC), UserCreated: true}
}

// fieldSnapshots is how many snapshots fieldTree has.
const fieldSnapshots = 6

// fieldTree is the branching tree of the field's own test. Each snapshot has a cluster of
// its own, full of first in the root and of one more in each that follows.
func fieldTree(first byte) string {
	return fmt.Sprintf(`
image
  snap11 0=%d
    snap12 1=%d
      snap13 2=%d
    snap21 3=%d
      snap22 4=%d
      snap31 5=%d
        head
`, first, first+1, first+2, first+3, first+4, first+5)
}

// fieldTreeWithData is it with data in the head.
var fieldTreeWithData = strings.Replace(fieldTree(10), "head", "head 7=99", 1)

// fieldChain is the first n snapshots of fieldTree, at most 3, with a head on the last.
func fieldChain(n int, first byte) string {
	return chainOf(8, first, []string{"snap11", "snap12", "snap13"}[:n]...)
}

// chain has n snapshots s0, s1, … with a cluster of their own each.
func chain(n, clusters int, first byte) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("s", i)
	}
	return chainOf(clusters, first, names...)
}

func chainOf(clusters int, first byte, names ...string) string {
	var tree strings.Builder
	fmt.Fprintf(&tree, "clusters %d\nimage\n", clusters)
	for i, name := range names {
		fmt.Fprintf(&tree, "%*s%s %d=%d\n", i+1, "", name, i%clusters, first+byte(i))
	}
	fmt.Fprintf(&tree, "%*shead\n", len(names)+1, "")
	return tree.String()
}

// fullChain has n snapshots s0, s1, … whose clusters are all their own.
func fullChain(n, clusters int) string {
	var tree strings.Builder
	fmt.Fprintf(&tree, "clusters %d\nimage\n", clusters)
	for i := range n {
		fmt.Fprintf(&tree, "%*ss%d", i+1, "", i)
		for at := range clusters {
			fmt.Fprintf(&tree, " %d=%d", at, byte(1+i+at))
		}
		tree.WriteString("\n")
	}
	fmt.Fprintf(&tree, "%*shead\n", n+1, "")
	return tree.String()
}

// wide is a tree of n snapshots of that many clusters, all on one root.
func wide(n, clusters int) string {
	var tree strings.Builder
	fmt.Fprintf(&tree, "clusters %d\nimage\n root 0=1\n", clusters)
	for i := range n {
		fmt.Fprintf(&tree, "  s%02d", i)
		for at := range clusters {
			fmt.Fprintf(&tree, " %d=%d", at, byte(i+at))
		}
		if tree.WriteString("\n"); i == 0 {
			tree.WriteString("   head\n")
		}
	}
	return tree.String()
}

// withoutImage is a tree whose root has no parent.
func withoutImage(tree string) string { return strings.Replace(tree, "image\n", "", 1) }
