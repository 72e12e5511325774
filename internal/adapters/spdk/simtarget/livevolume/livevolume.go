// Package livevolume lets clients read and write a RAID1 of a simulated target over NVMe/TCP, all the time, for people
// who try rebuilds under a live volume.
package livevolume

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/liveclient"
	"github.com/rootgraft/rebuild/internal/ports"
)

const (
	clusterSize = 1 << 20
	blockSize   = 4096
	callTimeout = 10 * time.Second

	address = "127.0.0.1"
	nqn     = "nqn.2026-01.io.rootgraft:"
	hostNQN = "nqn.2026-01.io.rootgraft:clients"
	nsid    = 1

	// pause is what each client waits between two requests. Without it the clients take all
	// processors from the targets, which are not as quick as real ones.
	pause = 4 * time.Millisecond
)

// CreateLvstore makes a disk in memory on the target of that socket, with an lvstore. size is in bytes.
func CreateLvstore(ctx context.Context, socket, name string, size uint64) error {
	return do(ctx, socket, rpc.CreateNull("disk", size/blockSize, blockSize), rpc.CreateLvstore("disk", name, clusterSize))
}

// Kill ends the target of that socket as kill -9 does. It may answer or not.
func Kill(ctx context.Context, socket string) error {
	err := do(ctx, socket, rpc.Kill())
	var dial *net.OpError
	if asked := !errors.As(err, &dial) || dial.Op != "dial"; asked && rpc.OutcomeUnknown(err) {
		return nil
	}
	return err
}

// do sends calls one after the other, up to the first that fails. What exists already need not be made.
func do(ctx context.Context, socket string, calls ...*rpc.Call) error {
	client := rpc.NewClient(socket, callTimeout, nil)
	defer client.Close()
	for _, call := range calls {
		if client.Do(ctx, call); call.Err != nil && !errors.Is(call.Err, ports.ErrExists) {
			return call.Err
		}
	}
	return nil
}

// Volume is a RAID1 that clients read and write.
type Volume struct {
	session *nvmetcp.Session
	view    nvmetcp.Initiator
	clients *liveclient.Clients
	giveUp  context.CancelFunc // ends the repetitions of their requests
}

// Serve exports the RAID1 of that name on any port, by a subsystem that reports ANA states, and starts clients, which
// go on until Stop.
func Serve(ctx context.Context, socket, raid string) (*Volume, error) {
	subsystem := nqn + raid
	err := do(ctx, socket,
		rpc.CreateTransport(),
		rpc.CreateSubsystem(spdktypes.NvmfCreateSubsystemRequest{Nqn: subsystem, AllowAnyHost: true, AnaReporting: true}),
		rpc.AddNamespace(subsystem, spdktypes.NvmfSubsystemNamespace{Nsid: nsid, BdevName: raid}))
	if err != nil {
		return nil, err
	}
	port, err := listen(ctx, socket, subsystem)
	if err != nil {
		return nil, err
	}
	session, err := nvmetcp.Dial(ctx, nvmetcp.Config{Address: net.JoinHostPort(address, port), NQN: subsystem, HostNQN: hostNQN})
	if err != nil {
		return nil, err
	}
	namespace, err := session.Namespace(ctx, nsid)
	if err != nil {
		_ = session.Close()
		return nil, err
	}
	repeating, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	v := &Volume{session: session, view: nvmetcp.Initiator{Context: repeating, Namespace: namespace}, giveUp: giveUp}
	v.clients, err = liveclient.Start(v.view, liveclient.Config{
		Size: int64(namespace.Size()), Block: int64(namespace.BlockSize()), Seed: 1, Pause: pause,
		Reads: 50, Writes: 40, Zeroes: 10, // a RAID of the Longhorn branch fails a trim if a member dies over it
	})
	if err != nil {
		giveUp()
		_ = session.Close()
		return nil, err
	}
	return v, nil
}

// listen has the target listen on a free port. Somebody else may take that first, so it tries several.
func listen(ctx context.Context, socket, subsystem string) (port string, err error) {
	for range 10 {
		if port, err = freePort(); err != nil {
			return "", err
		}
		err = do(ctx, socket, rpc.AddListener(subsystem, spdktypes.NvmfSubsystemListenAddress{
			Trtype: spdktypes.NvmeTransportTypeTCP, Adrfam: spdktypes.NvmeAddressFamilyIPv4, Traddr: address, Trsvcid: port,
		}))
		if !rpc.IsRefusal(err) {
			break
		}
	}
	return port, err
}

// freePort is a TCP port that nobody listens on at the moment.
func freePort() (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return "", err
	}
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), l.Close()
}

// Stats counts the requests of the clients.
type Stats = liveclient.Stats

// Stats returns what the clients have done up to now.
func (v *Volume) Stats() Stats { return v.clients.Stats() }

// WaitFor waits until the clients have had so many answers, or ctx ends.
func (v *Volume) WaitFor(ctx context.Context, answers uint64) {
	for {
		s := v.Stats()
		if s.Reads+s.Writes+s.Trims+s.Zeroes+s.Failures >= answers {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Stop stops the clients and reads the volume once more. It is called while the target still runs. It waits for a
// volume that does not answer, or that is frozen, for ten seconds.
func (v *Volume) Stop() (Stats, error) {
	defer v.giveUp()
	defer func() { _ = v.session.Close() }() // everything was answered
	impatient := time.AfterFunc(callTimeout, v.giveUp)
	stats := v.clients.Stop()
	err := v.clients.Check(v.view)
	if !impatient.Stop() {
		return stats, fmt.Errorf("the volume did not answer within %s", callTimeout)
	}
	return stats, err
}
