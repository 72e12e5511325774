package nvmf

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"

	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/randid"
)

// runNQN is a new name for a subsystem of a run: Longhorn's prefix, the replica and its
// store, the run, and 8 hex digits. No name is given twice: a controller may still be
// attached to the last one.
//
// If a replica is called "vol-1-rebuild-0badcafe", Longhorn exports it by a name that would
// be vol-1's here. So a subsystem or controller is a run's only with a second mark
// (modelNumber, controllerName).
func runNQN(run ports.Run) string { return runPrefix(run) + run.ID + "-" + randid.Hex(4) }

// runPrefix begins the NQNs of all runs of one replica on one store. Runs of earlier
// versions tell no store.
func runPrefix(run ports.Run) string {
	if run.Store == "" {
		return helpertypes.GetNQN(nqnReplica(run.Replica, nqnPart+len("-00000000")) + "-rebuild-")
	}
	return helpertypes.GetNQN(nqnReplica(run.Replica, nqnPart) + "-rebuild-" + nqnStore(run.Store) + "-")
}

var runID = regexp.MustCompile(`^[0-9a-f]{8}$`)

// CheckRun refuses a run that Exports.Release would not find again.
func CheckRun(run ports.Run) error {
	if run.Replica == "" || !runID.MatchString(run.ID) {
		return fmt.Errorf("run %q of replica %q: expected 8 hex digits and a name: %w", run.ID, run.Replica, ports.ErrInvalid)
	}
	return nil
}

// modelNumber marks the subsystems of rebuilds.
const modelNumber = "rootgraft rebuild"

// nqnPart is what an NQN has left for a replica's name.
const nqnPart = nqnLimit - len(helpertypes.NQNPrefix+":-rebuild-00000000-00000000-00000000")

// nqnReplica is the replica's name, or a shorter one that no other replica has.
func nqnReplica(replica string, most int) string {
	if len(replica) <= most {
		return replica
	}
	digest := sha256.Sum256([]byte(replica))
	short := hex.EncodeToString(digest[:16])
	return strings.ToValidUTF8(replica[:most-len(short)-1], "") + "-" + short
}

// nqnStore is a short name for a store of that UUID, and of a short name itself.
func nqnStore(uuid string) string {
	if runID.MatchString(uuid) {
		return uuid
	}
	digest := sha256.Sum256([]byte(uuid))
	return hex.EncodeToString(digest[:4])
}

var (
	runSuffix  = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{8}$`)
	runNQNForm = regexp.MustCompile(`^` + regexp.QuoteMeta(helpertypes.GetNQN("")) + `(.+)-rebuild-(?:([0-9a-f]{8})-)?([0-9a-f]{8})-[0-9a-f]{8}$`)
)

// isRunNQN reports whether the NQN is one of some run of the replica on that store.
func isRunNQN(nqn string, run ports.Run) bool {
	rest, ok := strings.CutPrefix(nqn, runPrefix(run))
	return ok && runSuffix.MatchString(rest)
}

// isNQNOf reports whether the NQN is one of that very run.
func isNQNOf(nqn string, run ports.Run) bool {
	return isRunNQN(nqn, run) && strings.HasPrefix(nqn, runPrefix(run)+run.ID+"-")
}

// isSameRun reports whether two runs have the same NQNs: Opened shortens long names.
func isSameRun(a, b ports.Run) bool { return a.ID == b.ID && runPrefix(a) == runPrefix(b) }

// controllerName names the controller of a subsystem. It is part of bdevs' names, so it is
// short.
func controllerName(nqn string) string {
	digest := sha256.Sum256([]byte(nqn))
	return "rebuild-" + hex.EncodeToString(digest[:8])
}

// IsOurs reports whether a run of a rebuild has made the subsystem.
func IsOurs(sub *spdktypes.NvmfSubsystem) bool {
	return sub.ModelNumber == modelNumber && runNQNForm.MatchString(sub.Nqn)
}

// HostNQNs are the NQNs by which hosts connect to what runs export. A subsystem
// lets in only the host that it was made for.
type HostNQNs struct {
	// Target is what a target connects with, to copy into an lvol of another one,
	// by the UUID of its lvstore. It is the same for every process. nil:
	// nqn.2014-08.org.nvmexpress:uuid:<UUID of the lvstore>.
	Target func(lvstoreUUID string) string

	// Engine is what this process connects with, to read and write lvols. Whoever
	// knows it is let in. nil: a new one that nobody else knows, for each host.
	Engine func() string
}

// nqnLimit is how long an NQN may be (SPDK_NVMF_NQN_MAX_LEN).
const nqnLimit = 223

const uuidNQN = "nqn.2014-08.org.nvmexpress:uuid:"

// UUIDNQN is the NQN of a host of that UUID.
func UUIDNQN(uuid string) string { return uuidNQN + uuid }

// hostNQNs are those of one lvstore and one process.
type hostNQNs struct{ target, engine string }

func (n HostNQNs) draw(lvstore string) (hostNQNs, error) {
	drawn := hostNQNs{target: uuidNQN + lvstore, engine: uuidNQN + uuidOf(randid.Hex(16))}
	if n.Target != nil {
		drawn.target = n.Target(lvstore)
	}
	if n.Engine != nil {
		drawn.engine = n.Engine()
	}
	for _, nqn := range []string{drawn.target, drawn.engine} {
		if !strings.HasPrefix(nqn, "nqn.") || len(nqn) > nqnLimit {
			return hostNQNs{}, fmt.Errorf("%q is no NQN: expected nqn.<date>.<domain>:<name> of at most %d bytes", nqn, nqnLimit)
		}
	}
	return drawn, nil
}

// uuidOf writes 32 hex digits as a UUID.
func uuidOf(digits string) string {
	return digits[:8] + "-" + digits[8:12] + "-" + digits[12:16] + "-" + digits[16:20] + "-" + digits[20:]
}
