package nvmf

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Way is an address of a ports.Way: a subsystem that gets one namespace, which is shown
// later.
//
// Within one target nothing is exported, since an exported bdev can neither be a RAID's
// base nor an external snapshot there. The subsystem has no listener then, and notes the
// lvol as a host that may connect (UUIDNQN). So every process that knows the way finds
// the lvol, and a later run of the replica finds and removes the subsystem.
type Way struct {
	NQN   string   `json:"nqn"`
	Store string   `json:"store"` // UUID of the lvstore that has the lvol
	Hosts []string `json:"hosts"` // NQNs of those who may connect

	// Head is the replica whose head the way leads to; "": it leads to a snapshot.
	Head string `json:"head,omitempty"`
	ID   string `json:"id"`

	Remote *spdktypes.NvmeTransportID `json:"remote,omitempty"` // nil: within the target

	// Spare is a path that is not used, since another path of the ID begins on the same
	// target: they would be lost together, and one target has one subsystem of a name.
	Spare bool `json:"spare,omitempty"`
}

// ParseWay reads an address that Offer made.
func ParseWay(at ports.Address) (Way, error) {
	w, err := parse[Way]("address", string(at))
	if err == nil && (w.NQN == "" || w.Store == "") {
		err = fmt.Errorf("address %q is not of a way: %w", at, ports.ErrInvalid)
	}
	return w, err
}

// wayNSID is that of the one namespace of a way.
const wayNSID = 1

// Controller names the controller of a target that is attached to the way. That of a head
// is not taken for one of a run (Exports.find), and tells people which replica it is.
func (w Way) Controller() string {
	if w.Head != "" {
		return HeadController(w.Head)
	}
	return controllerName(w.NQN)
}

// HeadController names the controller of a mirror's target for the head of a replica.
func HeadController(replica string) string { return "rebuilt-" + nqnReplica(replica, nqnPart) }

// Bdev is the name of the shown lvol where the way is attached.
func (w Way) Bdev() string { return fmt.Sprintf("%sn%d", w.Controller(), wayNSID) }

// headNQN is Longhorn's name for the export of a replica.
func headNQN(replica string) string {
	return helpertypes.GetNQN(nqnReplica(replica, nqnLimit-len(helpertypes.GetNQN(""))))
}

// wayNQN names the subsystem of a way. All ways of one ID have one name, on all hosts, so
// that they are paths of one controller. A head's remote way has Longhorn's name, which
// outlives the run.
func wayNQN(run ports.Run, way ports.Way, here bool) string {
	switch {
	case way.Head != "" && !here:
		return headNQN(way.Head)
	case way.Head != "":
		return runNQN(run)
	}
	return runPrefix(run) + run.ID + "-" + way.ID
}

// headModel marks the subsystems of heads. It is not a run's (modelNumber), so Release
// leaves them.
const headModel = "rootgraft replica"

// HeadHost is the NQN of the one host that a way to the head of the replica admits. "": the
// subsystem is no such way, or admits others, too.
func HeadHost(sub *spdktypes.NvmfSubsystem, replica string) string {
	isWay := sub.ModelNumber == headModel && sub.Nqn == headNQN(replica) && len(sub.Namespaces) == 1
	if !isWay || sub.AllowAnyHost || len(sub.Hosts) != 1 {
		return ""
	}
	return sub.Hosts[0].Nqn
}

// pathIDs is how many controller IDs one path of a way has: those of several paths must
// differ, since they are IDs of one subsystem to those who connect.
const pathIDs = 1000

// describe is the subsystem of a way.
func (w Way) describe(run ports.Run, path int) spdktypes.NvmfCreateSubsystemRequest {
	described := spdktypes.NvmfCreateSubsystemRequest{
		Nqn: w.NQN, SerialNumber: run.ID, ModelNumber: modelNumber,
		MinCntlid: uint16(path*pathIDs + 1), MaxCntlid: uint16((path + 1) * pathIDs),
	}
	if w.Head != "" && w.Remote != nil {
		described.ModelNumber = headModel
	}
	return described
}

// namespace shows the lvol. A head has its own UUID wherever it is attached, and a snapshot
// the same on all paths.
func (w Way) namespace(lvol string) spdktypes.NvmfSubsystemNamespace {
	uuid := lvol
	if w.Head == "" {
		uuid = wayUUID(w.ID)
	}
	return spdktypes.NvmfSubsystemNamespace{
		Nsid: wayNSID, BdevName: lvol, Nguid: strings.ReplaceAll(uuid, "-", ""), UUID: uuid,
	}
}

// wayUUID is the UUID of whatever is shown at the ways of that ID, where it is attached.
func wayUUID(id string) string {
	digest := sha256.Sum256([]byte("rebuild way " + id))
	return uuidOf(hex.EncodeToString(digest[:16]))
}

// wayUUIDOf is that UUID, by the NQN of a run's way.
func wayUUIDOf(nqn string) string { return wayUUID(nqn[strings.LastIndexByte(nqn, '-')+1:]) }

// Local is the UUID of the lvol that is shown at a way within this target. "": none yet.
// ports.ErrNotFound: no such way.
func (w Way) Local(ctx context.Context, client *rpc.Client) (lvol string, err error) {
	found, err := subsystems(ctx, client, w.NQN)
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("there is no way %s: %w", w.NQN, ports.ErrNotFound)
	}
	return localLvol(&found[0]), nil
}

func localLvol(sub *spdktypes.NvmfSubsystem) string {
	for _, host := range sub.Hosts {
		if lvol, is := strings.CutPrefix(host.Nqn, uuidNQN); is {
			return lvol
		}
	}
	return ""
}

// Admits reports whether the way was offered to the host of that NQN.
func (w Way) Admits(hostNQN string) error {
	if !slices.Contains(w.Hosts, hostNQN) {
		return fmt.Errorf("way %s is offered to %s, and not to %s: %w", w.NQN, strings.Join(w.Hosts, ", "), hostNQN, ports.ErrUnavailable)
	}
	return nil
}

// How long, in seconds, a way may be unreachable: then its reads and writes fail, and
// clients of the volume go on without it.
const (
	wayReconnect = 1
	wayFastFail  = 3
	wayLoss      = 5
)

// Attach connects a target to a way that leads to another one. Another path of the same ID
// is used when the first one fails.
func (w Way) Attach(ctx context.Context, client *rpc.Client, hostNQN string) error {
	return attach(ctx, client, rpc.Attachment{
		Name: w.Controller(), To: *w.Remote, HostNQN: hostNQN, Failover: true,
		ReconnectDelay: wayReconnect, FastIOFail: wayFastFail, ControllerLoss: wayLoss,
	})
}

// address is the way as others get it, unless it could not be opened.
func (w Way) address(err error) (ports.Address, error) {
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(w)
	return ports.Address(text), err
}
