package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget/livevolume"
)

// The volume of simtarget --volume.
const (
	triedDisk = 1 << 30  // bytes of each target's disk
	triedSize = 32 << 20 // bytes of the volume

	triedSnapshots = 3
	triedRequests  = 200 // of clients before each snapshot

	clientsEvery = 5 * time.Second // between two lines about the clients
)

// triedVolume is a live volume on simulated targets for people who try rebuilds under it: its replicas are on all
// targets but the last one, which is for the replica that they rebuild.
type triedVolume struct {
	raid    volumeAddress
	members []address
	next    address
}

func newTriedVolume(name string, sockets []string) (v triedVolume, err error) {
	if name == "" {
		return v, badUsage("--volume: expected the name of a volume, such as vol-1")
	}
	if len(sockets) < 2 {
		return v, badUsage("--volume %s: expected two --socket or more, the last one for a replica to rebuild", name)
	}
	if err := rebuild.CheckReplicaName(name); err != nil {
		return v, badUsage("--volume: %v", err)
	}
	for i, socket := range sockets {
		if socket, err = filepath.Abs(socket); err != nil {
			return v, err
		}
		at := address{socket: socket, lvstore: fmt.Sprintf("disk-%d", i+1), replica: fmt.Sprintf("%s-r-%08d", name, i+1)}
		v.members = append(v.members, at)
	}
	last := len(sockets) - 1
	v.members, v.next = v.members[:last], v.members[last]
	v.raid = volumeAddress{socket: v.members[0].socket, raid: name, mayBeNew: true}
	return v, nil
}

// serve makes the volume and has clients read and write it until the context ends or a target fails.
func (v triedVolume) serve(ctx context.Context, p cli, ends <-chan targetEnd) error {
	clients, err := v.start(ctx, p)
	switch {
	case ctx.Err() != nil && err != nil:
		return fmt.Errorf("make volume %s: interrupted", v.raid.raid)
	case err != nil:
		return fmt.Errorf("make volume %s: %w", v.raid.raid, err)
	}
	v.help(p.out)
	every := time.NewTicker(clientsEvery)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			v.report(p.out, clients.Stats())
			continue
		case end := <-ends:
			if err = end.tell(p.out); err == nil {
				continue
			}
		case <-ctx.Done():
		}
		stats, wrong := clients.Stop()
		v.report(p.out, stats)
		return errors.Join(err, stats.Failure, stats.FirstWrong, wrong)
	}
}

// start makes the disks and the volume, starts clients, and takes snapshots while they write.
func (v triedVolume) start(ctx context.Context, p cli) (clients *livevolume.Volume, err error) {
	for _, at := range append(v.members, v.next) {
		if err := livevolume.CreateLvstore(ctx, at.socket, at.lvstore, triedDisk); err != nil {
			return nil, err
		}
	}
	mirror, err := p.openVolume(ctx, v.raid)
	if err != nil {
		return nil, err
	}
	defer func() { _ = mirror.Close() }() // no call is under way
	request := rebuild.VolumeRequest{Mirror: mirror, Base: rebuild.NoBase(), Freezer: freezer.Func(mirror.Suspend, mirror.Resume)}
	for _, at := range v.members {
		host, err := p.open(ctx, at)
		if err != nil {
			return nil, err
		}
		defer func() { _ = host.Close() }()
		request.Members = append(request.Members, rebuild.Site{Host: host, Replica: at.replica})
	}
	if _, err := p.engine.CreateVolume(ctx, request, triedSize); err != nil {
		return nil, err
	}
	clients, err = livevolume.Serve(ctx, v.raid.socket, v.raid.raid)
	if err != nil {
		return nil, err
	}
	for i := range triedSnapshots {
		clients.WaitFor(ctx, uint64(i+1)*triedRequests)
		if _, err := p.engine.SnapshotVolume(ctx, request, fmt.Sprintf("snap%d", i+1)); err != nil {
			_, _ = clients.Stop()
			return nil, err
		}
	}
	return clients, nil
}

// help prints what to try.
func (v triedVolume) help(out io.Writer) {
	fmt.Fprintf(out, "clients read and write volume %s, and check every byte\nrebuild a replica under it, in another terminal:\n\n", v.raid.raid)
	fmt.Fprintf(out, "engine rebuild --online --freeze ana --no-image --bandwidth 8MiB \\\n  --volume 'unix://%s?raid=%s' \\\n", v.raid.socket, v.raid.raid)
	for _, at := range v.members {
		fmt.Fprintf(out, "  --source 'unix://%s?lvs=%s&replica=%s' \\\n", at.socket, at.lvstore, at.replica)
	}
	fmt.Fprintf(out, "  --destination 'unix://%s?lvs=%s&replica=%s'\n\n", v.next.socket, v.next.lvstore, v.next.replica)
	if len(v.members) > 1 {
		fmt.Fprintf(out, "meanwhile, kill the target of a source:\n\nengine simtarget --kill %s\n\n", v.members[len(v.members)-1].socket)
	}
}

func (v triedVolume) report(out io.Writer, s livevolume.Stats) {
	fmt.Fprintf(out, "%d reads, %d writes, %d writes of zeroes; the longest took %s\n  %s\n",
		s.Reads, s.Writes, s.Zeroes, millisecondsText(milliseconds(s.Longest)), failuresText(s.Failures, s.Wrong))
}
