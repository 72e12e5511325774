package rebuild_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/memhost"
)

const cluster = 4096

// These are the lines of the package comment and two more: one makes a replica on the
// source, one removes the observer, whose output would be long.
func Example() {
	fabric := memhost.NewFabric() // or hosts of spdkhost.Open, or of an adapter of your own
	source, destination := fabric.NewHost(memhost.Config{Name: "disk-1"}), fabric.NewHost(memhost.Config{Name: "disk-2"})
	grow(source)
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel() // at any time: finished snapshots stay, nothing is left in flight
	request := rebuild.Request{
		Source:      rebuild.Site{Host: source, Replica: "vol-1-r-0a1b2c3d"},
		Destination: rebuild.Site{Host: destination, Replica: "vol-1-r-4e5f6a7b"},
		Base:        rebuild.ImageBase("base"), // or CloneBase, NoBase; nothing if the heads' records tell
		Observer:    rebuild.ObserverFunc(func(e rebuild.Event) { fmt.Println(e.Kind, e.BytesDone, e.BytesTotal) }),
	}
	request.Observer = nil
	engine := rebuild.New()
	plan, err := engine.Plan(ctx, request)
	fmt.Println(len(plan.Steps), err)
	report, err := engine.Rebuild(ctx, request)
	fmt.Println(report.Outcome, report.CopiedBytes, err)
	// Output:
	// 4 <nil>
	// complete 5242880 <nil>
}

// A plan is data; the observer is told each operation of the rebuild.
func ExampleEngine_Rebuild() {
	ctx := context.Background()
	request := lostReplica()
	request.Parallel = 1 // so that the output is the same each time
	request.Observer = rebuild.ObserverFunc(func(e rebuild.Event) {
		if e.Kind == rebuild.EventEnded && e.Verb == rebuild.VerbSeal {
			fmt.Printf("sealed %q, %d of %d bytes copied\n", e.Snapshot, e.BytesDone, e.BytesTotal)
		}
	})
	engine := rebuild.New()

	plan, err := engine.Plan(ctx, request)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, step := range plan.Steps {
		fmt.Printf("%s %q onto %q\n", step.Action, step.Snapshot, step.Parent)
	}

	report, err := engine.Rebuild(ctx, request)
	fmt.Println(report.Outcome, len(report.Violations), err)
	for _, s := range report.Destination.Snapshots {
		fmt.Printf("the parent of %s is %s\n", s.Name, report.Destination.ParentOf(s.Lvol))
	}
	// Output:
	// fetch-image "" onto ""
	// copy "monday" onto "backing-image:base"
	// copy "tuesday" onto "monday"
	// create-head "" onto "tuesday"
	// sealed "", 8192 of 20480 bytes copied
	// sealed "monday", 16384 of 20480 bytes copied
	// sealed "tuesday", 20480 of 20480 bytes copied
	// complete 0 <nil>
	// the parent of monday is backing-image:base
	// the parent of tuesday is monday
}

// A cancelled rebuild leaves nothing in flight, and the next one keeps what was finished.
func ExampleEngine_Rebuild_cancelled() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	request := lostReplica()
	request.Parallel = 1
	request.Observer = rebuild.ObserverFunc(func(e rebuild.Event) {
		if e.Kind == rebuild.EventCopying && e.Snapshot == "tuesday" {
			cancel()
		}
	})
	engine := rebuild.New()

	report, err := engine.Rebuild(ctx, request)
	fmt.Println(report.Outcome, errors.Is(err, context.Canceled))

	request.Observer = nil
	report, err = engine.Rebuild(context.Background(), request)
	fmt.Println(report.Outcome, err)
	for _, step := range report.Plan.Steps {
		fmt.Printf("%s %q\n", step.Action, step.Snapshot)
	}
	// Output:
	// failed true
	// complete <nil>
	// keep "monday"
	// copy "tuesday"
	// create-head ""
}

// A rebuild that is not safe is refused, with the reason; nothing was changed.
func ExampleEngine_Rebuild_refused() {
	request := lostReplica()
	request.Base = rebuild.ImageBase("debian")
	report, err := rebuild.New().Rebuild(context.Background(), request)
	fmt.Println(report.Outcome, errors.Is(err, rebuild.ErrRefused))
	fmt.Println(err)
	// Output:
	// refused true
	// the request says backing image debian, but the record on head vol-1-r-0a1b2c3d says backing image base
}

// A queue starts rebuilds as the limits of their hosts allow. Each is a job.
func ExampleQueue() {
	ctx := context.Background()
	queue := rebuild.NewQueue(rebuild.New(), rebuild.Limits{PerSource: 1, PerDestination: 1})
	request := lostReplica()
	queue.LimitHost(request.Destination.Host, 100<<20) // of all rebuilds together

	job, err := queue.Submit(ctx, request)
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := job.Wait(ctx)
	fmt.Println(report.Outcome, err)
	for _, job := range queue.Jobs() {
		status := job.Status()
		fmt.Println(status.Destination, status.Phase)
	}
	fmt.Println(queue.Close(ctx))
	// Output:
	// complete <nil>
	// vol-1-r-4e5f6a7b ended
	// <nil>
}

// A disk is lost: the rebuilds that use it end at once, and say so.
func ExampleEngine_EndRebuilds() {
	engine := rebuild.New()
	request := lostReplica()
	lost := errors.New("the disk of disk-1 is gone")
	request.Observer = rebuild.ObserverFunc(func(e rebuild.Event) {
		if e.Kind == rebuild.EventPlanned {
			fmt.Println(engine.EndRebuilds(rebuild.Using{Host: request.Source.Host}, lost))
		}
	})
	report, err := engine.Rebuild(context.Background(), request)
	fmt.Println(report.Outcome, errors.Is(err, rebuild.ErrEnded), errors.Is(err, lost))
	// Output:
	// 1
	// failed true true
}

// An urgent rebuild goes before those that wait, and one of these is paused.
func ExampleJob_Move() {
	ctx := context.Background()
	queue := rebuild.NewQueue(rebuild.New(), rebuild.Limits{PerDestination: 1})
	request := lostReplica()
	proceed := make(chan struct{})
	request.Observer = rebuild.ObserverFunc(func(rebuild.Event) { <-proceed }) // the first job runs until then
	var jobs []rebuild.Job
	for _, volume := range []string{"vol-1", "vol-2", "vol-3"} {
		request.Volume, request.Destination.Replica = volume, volume+"-r-4e5f6a7b"
		job, err := queue.Submit(ctx, request)
		if err != nil {
			fmt.Println(err)
			return
		}
		jobs = append(jobs, job)
	}

	check(jobs[2].Move(1))
	check(jobs[1].Pause())
	for _, job := range jobs {
		status := job.Status()
		fmt.Println(status.Volume, status.Phase, status.Position)
	}
	close(proceed)
	check(queue.Close(ctx)) // cancels all three
	// Output:
	// vol-1 running 0
	// vol-2 paused 2
	// vol-3 queued 1
}

// A limit can be changed while rebuilds run.
func ExampleBandwidth() {
	nightly := rebuild.NewBandwidth(200 << 20)
	request := lostReplica()
	request.Bandwidth = []*rebuild.Bandwidth{nightly}
	request.Observer = rebuild.ObserverFunc(func(e rebuild.Event) {
		if e.Kind == rebuild.EventPlanned {
			nightly.Set(50 << 20)
		}
	})
	report, err := rebuild.New().Rebuild(context.Background(), request)
	fmt.Println(report.Outcome, err, nightly.Rate()>>20)
	// Output:
	// complete <nil> 50
}

// lostReplica is the request of a rebuild onto an empty host.
func lostReplica() rebuild.Request {
	fabric := memhost.NewFabric()
	source := fabric.NewHost(memhost.Config{Name: "disk-1", ClusterSize: cluster})
	destination := fabric.NewHost(memhost.Config{Name: "disk-2", ClusterSize: cluster})
	grow(source)
	return rebuild.Request{
		Source:      rebuild.Site{Host: source, Replica: "vol-1-r-0a1b2c3d"},
		Destination: rebuild.Site{Host: destination, Replica: "vol-1-r-4e5f6a7b"},
		Base:        rebuild.ImageBase("base"),
	}
}

// grow makes an image of two clusters and a replica of four clusters with two snapshots,
// with the host's own verbs.
func grow(host *memhost.Host) {
	ctx := context.Background()
	store := must(host.List(ctx))
	write := func(lvol string, text string, clusters ...uint64) {
		for _, at := range clusters {
			check(host.WriteAt(lvol, []byte(text), at*store.ClusterSize))
		}
	}

	filling := must(host.Create(ctx, rebuild.ImageInFlightLvolName("00000001"), 2*store.ClusterSize))
	write(filling, "image", 0, 1)
	image := must(host.Seal(ctx, filling, rebuild.ImageLvolName("base", store.UUID), rebuild.SealRecord{}))

	head := must(host.Clone(ctx, image, "vol-1-r-0a1b2c3d", 4*store.ClusterSize, "base"))
	write(head, "monday", 1, 2)
	must(host.Snapshot(ctx, head, rebuild.SnapshotLvolName("vol-1-r-0a1b2c3d", "monday"), rebuild.Attributes{UserCreated: true}))
	write(head, "tuesday", 3)
	must(host.Snapshot(ctx, head, rebuild.SnapshotLvolName("vol-1-r-0a1b2c3d", "tuesday"), rebuild.Attributes{UserCreated: true}))
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
