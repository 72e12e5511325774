// Command embed is a program in a module of its own that embeds the engine, with a store
// of its own. It makes a replica on one host, rebuilds it on another, and prints the
// result.
//
// The other files are the adapter, in an order in which one may write it: host.go (a host
// and its listing), verbs.go (operations on lvols), copy.go (copies between hosts) and
// data.go (the data of lvols). store_test.go checks it against the engine's contract. A live
// volume of one's own kind is the example of rebuild.Engine.RebuildOnline.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/rootgraft/rebuild"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	rack := newRack()
	source, destination := rack.newHost("disk-1", 64), rack.newHost("disk-2", 64)
	if err := grow(ctx, source, "vol-1-r-0a1b2c3d"); err != nil {
		return err
	}
	request := rebuild.Request{
		Source:      rebuild.Site{Host: source, Replica: "vol-1-r-0a1b2c3d"},
		Destination: rebuild.Site{Host: destination, Replica: "vol-1-r-4e5f6a7b"},
		Base:        rebuild.ImageBase("base"),
		Observer: rebuild.ObserverFunc(func(e rebuild.Event) {
			if e.Kind == rebuild.EventEnded {
				fmt.Fprintf(out, "%d of %d bytes: %s %s\n", e.BytesDone, e.BytesTotal, e.Verb, e.Snapshot)
			}
		}),
	}
	report, err := rebuild.New().Rebuild(ctx, request)
	if err != nil {
		return err
	}
	for _, step := range report.Plan.Steps {
		fmt.Fprintf(out, "%s %s: %s\n", step.Action, step.Snapshot, step.Reason)
	}
	for _, s := range report.Destination.Snapshots {
		fmt.Fprintf(out, "the parent of %s is %s\n", s.Name, report.Destination.ParentOf(s.Lvol))
	}
	fmt.Fprintf(out, "%s, %d bytes copied\n", report.Outcome, report.CopiedBytes)
	return nil
}

// grow makes a replica with two snapshots on a backing image.
func grow(ctx context.Context, h *host, replica string) error {
	filling, err := h.Create(ctx, rebuild.ImageInFlightLvolName("00000001"), 2*clusterSize)
	if err != nil {
		return err
	}
	if err := h.write(filling, []byte("the image"), 0); err != nil {
		return err
	}
	image, err := h.Seal(ctx, filling, rebuild.ImageLvolName("base", h.uuid), rebuild.SealRecord{})
	if err != nil {
		return err
	}
	head, err := h.Clone(ctx, image, replica, 4*clusterSize, "base")
	if err != nil {
		return err
	}
	for at, name := range []string{"monday", "tuesday"} {
		if err := h.write(head, []byte(name), uint64(at+1)*clusterSize); err != nil {
			return err
		}
		if _, err := h.Snapshot(ctx, head, rebuild.SnapshotLvolName(replica, name), rebuild.Attributes{UserCreated: true}); err != nil {
			return err
		}
	}
	return nil
}
