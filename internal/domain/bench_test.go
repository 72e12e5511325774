//go:build unix

package domain

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// BenchmarkPlan plans ten trees of 10,000 snapshots and one of 100,000, side by
// side in each run: times on two machines cannot be compared, their ratio can.
//
// Budget: 100,000 in less than 0.3 s, and at most 12 times the time of 10,000.
//
//	go test -run=NONE -bench=BenchmarkPlan -benchtime=10x ./internal/domain
func BenchmarkPlan(b *testing.B) {
	for name, leftBehind := range map[string]bool{"from-nothing": false, "everything-identical": true} {
		b.Run(name+"/plan", func(b *testing.B) { compare(b, leftBehind, (*bench).plan) })
		b.Run(name+"/list-and-plan", func(b *testing.B) { compare(b, leftBehind, (*bench).listAndPlan) })
	}
}

// BenchmarkStoreModel plays the plan of such trees, as an executor does.
func BenchmarkStoreModel(b *testing.B) { compare(b, false, (*bench).play) }

// compare alternates between a large tree and ten small ones and reports the median of
// the ratios. The ten differ, so together they take as much work and memory as the
// large one; one small tree repeated ten times would stay in the processor's cache.
//
// The cache still affects the ratio a little: look-ups by name among 100,000 are less
// local than among 10,000.
//
// Times are CPU times of all threads, including the garbage collector: on a busy
// machine wall-clock time measures other processes. ns/op is the wall-clock time of
// both.
func compare(b *testing.B, leftBehind bool, what func(*bench)) {
	b.Helper()
	large := benchReplicas(b, 100_000, 0, leftBehind)
	var small []*bench
	for seed := range uint64(10) {
		small = append(small, benchReplicas(b, 10_000, seed, leftBehind))
	}
	var ratios, times []float64
	for b.Loop() {
		runtime.GC() // what the one leaves is not the other's to collect
		ofTen := processorTime(func() {
			for _, x := range small {
				what(x)
			}
		})
		runtime.GC()
		ofLarge := processorTime(func() { what(large) })
		ratios, times = append(ratios, 10*ofLarge/ofTen), append(times, ofLarge)
	}
	slices.Sort(ratios)
	slices.Sort(times)
	b.ReportMetric(ratios[len(ratios)/2], "x-for-10x-tree")
	b.ReportMetric(times[len(times)/2], "cpu-s-for-100000")
}

// processorTime is in seconds.
func processorTime(what func()) float64 {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			panic(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	what()
	return (used() - before).Seconds()
}

// bench is a source and a destination of one size.
type bench struct {
	b                             *testing.B
	sourceStore, destinationStore Listing
	source, destination           Replica
	operations                    []Operation
}

func benchReplicas(b *testing.B, n int, seed uint64, leftBehind bool) *bench {
	b.Helper()
	x := &bench{b: b, sourceStore: benchStore("a", sourceReplica, n, seed), destinationStore: benchStore("b", destinationReplica, n, seed)}
	if !leftBehind {
		x.destinationStore.Lvols = x.destinationStore.Lvols[:1]
	}
	x.source, x.destination = x.list()
	plan, err := PlanRebuild(x.source, x.destination, Base{}, Options{})
	if err != nil {
		b.Fatal(err)
	}
	if leftBehind == plan.Changes() {
		b.Fatalf("a plan with %d operations", len(plan.Operations))
	}
	x.operations = plan.Operations
	return x
}

// benchStore has a tree that branches: the parent of most snapshots is the one before,
// of every eighth any older one.
func benchStore(name, replica string, n int, seed uint64) Listing {
	store := fixtureStore(name)
	store.FreeClusters = 1 << 30
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	store.Lvols = append(store.Lvols, imageLvol(store))
	for i := range n {
		parent := i // the position of the one before; the image's is 0
		if i > 0 && i%8 == 0 {
			parent = 1 + r.IntN(i)
		}
		store.Lvols = append(store.Lvols, Lvol{
			UUID: fmt.Sprintf("%s0000000-0000-0000-0000-%012d", name, i), Name: SnapshotLvolName(replica, fmt.Sprintf("snapshot-%d", i)),
			Parent: store.Lvols[parent].UUID, Size: proofSize, ReadOnly: true, Own: ownClusters(fmt.Sprint("data-", i), 1), Attributes: createdAt(i),
		})
	}
	store.Lvols = append(store.Lvols, Lvol{UUID: name + "-head", Name: replica, Parent: store.Lvols[n].UUID, Size: proofSize, Record: proofImage})
	return store
}

func (x *bench) list() (source, destination Replica) {
	source, err := NewReplica(x.sourceStore, sourceReplica)
	if err != nil {
		x.b.Fatal(err)
	}
	destination, err = NewReplica(x.destinationStore, destinationReplica)
	if err != nil {
		x.b.Fatal(err)
	}
	return source, destination
}

func (x *bench) plan() {
	if _, err := PlanRebuild(x.source, x.destination, Base{}, Options{}); err != nil {
		x.b.Fatal(err)
	}
}

func (x *bench) listAndPlan() {
	source, destination := x.list()
	if _, err := PlanRebuild(source, destination, Base{}, Options{}); err != nil {
		x.b.Fatal(err)
	}
}

func (x *bench) play() {
	model := NewStoreModel(x.destinationStore, destinationReplica)
	for _, o := range x.operations {
		if err := model.Apply(x.sourceStore, o); err != nil {
			x.b.Fatal(err)
		}
	}
}
