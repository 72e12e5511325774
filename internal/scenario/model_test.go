package scenario_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/scenario"
)

const cluster = 4 * kib

// picture is an lvol as the format describes it, byte by byte.
type picture struct {
	bytes []byte
	own   map[uint64]bool
}

// draw applies writes on top of a parent; nil: none.
func draw(parent *picture, size uint64, writes []scenario.Write) *picture {
	p := &picture{bytes: make([]byte, size), own: make(map[uint64]bool)}
	if parent != nil {
		copy(p.bytes, parent.bytes)
	}
	for _, w := range writes {
		fill(p.bytes, w.Offset, w.Length, w.Seed)
		for i := w.Offset; i < w.Offset+w.Length; i++ {
			p.own[i/cluster] = true
		}
	}
	return p
}

// like puts the own clusters of an original on top of another parent.
func like(original, parent *picture) *picture {
	p := draw(parent, uint64(len(original.bytes)), nil)
	p.own = original.own
	for i := range original.own {
		copy(p.bytes[i*cluster:(i+1)*cluster], original.bytes[i*cluster:])
	}
	return p
}

func TestBuildMatchesFormat(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			s, source, destination := randomScenario(random)
			w := buildOf(t, s)
			for name, p := range source {
				requirePicture(t, w.source, name, p)
			}
			for name, p := range destination {
				requirePicture(t, w.destination, name, p)
			}
		})
	}
}

func requirePicture(t *testing.T, h host, name string, p *picture) {
	t.Helper()
	l := h.lvol(name)
	require.Equal(t, slices.Sorted(maps.Keys(p.own)), h.own(l), name)
	require.True(t, slices.Equal(p.bytes, h.read(l, 0, uint64(len(p.bytes)))), name)
	require.EqualValues(t, len(p.bytes), l.Size)
}

func randomWrites(random *rand.Rand, size uint64) []scenario.Write {
	writes := []scenario.Write{}
	for range random.IntN(4) {
		offset := random.Uint64N(size + 1)
		writes = append(writes, scenario.Write{Offset: offset, Length: random.Uint64N(min(size-offset, 3*cluster) + 1), Seed: random.Uint64()})
	}
	return writes
}

// randomBase gives the scenario a base. It adds the lvols and returns the entry point.
func randomBase(random *rand.Rand, s *scenario.Scenario, source, destination map[string]*picture) *picture {
	s.Base = &scenario.Base{Volume: "b"}
	var image, parent, ep *picture
	least := uint64(1)
	if random.IntN(2) == 0 {
		s.Base.Image = &scenario.BackingImage{Name: "i", Size: cluster, Writes: randomWrites(random, cluster)}
		image = draw(nil, cluster, s.Base.Image.Writes)
		source["bi-i-disk-"+scenario.SourceStoreUUID] = image
		destination["bi-i-disk-"+scenario.DestinationStoreUUID] = image
	}
	parent = image
	count := 1 + random.IntN(3)
	chosen := random.IntN(count)
	for i := range count {
		snapshot := scenario.Snapshot{Name: fmt.Sprint("s", i)}
		if i > 0 {
			snapshot.Parent = fmt.Sprint("s", i-1)
		}
		least += random.Uint64N(2)
		snapshot.Size = least * cluster
		snapshot.Writes = randomWrites(random, snapshot.Size)
		parent = draw(parent, snapshot.Size, snapshot.Writes)
		source["b-r-0000000a-snap-"+snapshot.Name] = parent
		destination["b-r-0000000b-snap-"+snapshot.Name] = parent
		if i == chosen {
			ep, s.Base.Snapshot = draw(parent, snapshot.Size, nil), snapshot.Name
			source["b-r-0000000a-clone-ep-"+snapshot.Name] = ep
			destination["b-r-0000000b-clone-ep-"+snapshot.Name] = ep
		}
		s.Base.Snapshots = append(s.Base.Snapshots, snapshot)
	}
	source["b-r-0000000a"] = draw(parent, s.Volume.Size, nil)
	destination["b-r-0000000b"] = source["b-r-0000000a"]
	return ep
}

// randomScenario also returns the expected lvols of the hosts, by name on the store.
func randomScenario(random *rand.Rand) (s *scenario.Scenario, source, destination map[string]*picture) {
	source, destination = make(map[string]*picture), make(map[string]*picture)
	size := uint64(8+random.IntN(8)) * cluster
	s = &scenario.Scenario{Volume: scenario.Volume{Name: "v", Size: size, ClusterSize: cluster}}
	var image *picture // or the entry point
	least := uint64(1)
	switch random.IntN(3) {
	case 0:
	case 1:
		image = randomBase(random, s, source, destination)
		least = uint64(len(image.bytes)) / cluster
	default:
		least = 1 + random.Uint64N(4)
		s.Image = &scenario.BackingImage{Name: "i", Size: least * cluster, Writes: randomWrites(random, least*cluster)}
		image = draw(nil, s.Image.Size, s.Image.Writes)
		source["bi-i-disk-"+scenario.SourceStoreUUID] = image
		destination["bi-i-disk-"+scenario.DestinationStoreUUID] = image
	}
	ofSource := make(map[string]*picture)
	parentOf := make(map[string]string)
	for i := range 1 + random.IntN(5) {
		snapshot := scenario.Snapshot{Name: fmt.Sprint("s", i)}
		parent, smallest := image, least*cluster
		if i > 0 {
			snapshot.Parent = s.Source.Snapshots[random.IntN(i)].Name
			parent = ofSource[snapshot.Parent]
			smallest = uint64(len(parent.bytes))
		}
		snapshot.Size = smallest + random.Uint64N((size-smallest)/cluster+1)*cluster
		snapshot.Writes = randomWrites(random, snapshot.Size)
		ofSource[snapshot.Name] = draw(parent, snapshot.Size, snapshot.Writes)
		parentOf[snapshot.Name] = snapshot.Parent
		source["v-r-1-snap-"+snapshot.Name] = ofSource[snapshot.Name]
		s.Source.Snapshots = append(s.Source.Snapshots, snapshot)
	}
	s.Source.Head = &scenario.Head{Writes: randomWrites(random, size)}
	last := s.Source.Snapshots[len(s.Source.Snapshots)-1].Name
	source["v-r-1"] = draw(ofSource[last], size, s.Source.Head.Writes)
	// Children come before parents in the file.
	here := make(map[string]*picture)
	for _, snapshot := range s.Source.Snapshots {
		if random.IntN(3) == 0 {
			continue
		}
		leftover := scenario.Leftover{Snapshot: scenario.Snapshot{Name: snapshot.Name}}
		parent := image
		if random.IntN(2) == 0 {
			leftover.LikeSource = true
			if p, ok := here[parentOf[snapshot.Name]]; ok {
				parent = p
			}
			here[snapshot.Name] = like(ofSource[snapshot.Name], parent)
		} else {
			leftover.Size = uint64(1+random.IntN(20)) * cluster
			leftover.Writes = randomWrites(random, leftover.Size)
			if random.IntN(2) == 0 {
				leftover.Parent, parent = scenario.NoParent, nil
			}
			here[snapshot.Name] = draw(parent, leftover.Size, leftover.Writes)
		}
		destination["v-r-2-snap-"+snapshot.Name] = here[snapshot.Name]
		s.Destination.Snapshots = slices.Insert(s.Destination.Snapshots, 0, leftover)
	}
	return s, source, destination
}
