package spdk

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"

	"github.com/rootgraft/rebuild/internal/ports"
)

// runNQN is a new name for a subsystem of a run: Longhorn's prefix, the replica
// and its store, the run, and 8 hex digits. A run may have several, on several
// hosts and one after the other, and no name is given twice: a controller may
// still be attached to the last one.
//
// A replica may be called "vol-1-rebuild-0badcafe", and Longhorn exports it under
// a name that would be vol-1's here; so a subsystem or controller is ours only
// with a second mark (modelNumber, controllerName).
func runNQN(run ports.Run) string { return runPrefix(run) + run.ID + "-" + newID() }

// runPrefix is what the NQNs of all runs of one replica on one store begin with.
// A run that tells no store, as those of earlier versions, has none there.
func runPrefix(run ports.Run) string {
	if run.Store == "" {
		return helpertypes.GetNQN(nqnReplica(run.Replica, nqnPart+len("-00000000")) + "-rebuild-")
	}
	return helpertypes.GetNQN(nqnReplica(run.Replica, nqnPart) + "-rebuild-" + nqnStore(run.Store) + "-")
}

var runID = regexp.MustCompile(`^[0-9a-f]{8}$`)

// checkRun refuses a run that Release would not find again.
func checkRun(run ports.Run) error {
	if run.Replica == "" || !runID.MatchString(run.ID) {
		return fmt.Errorf("run %q of replica %q: expected 8 hex digits and a name: %w", run.ID, run.Replica, ports.ErrInvalid)
	}
	return nil
}

// modelNumber marks the subsystems of rebuilds.
const modelNumber = "rootgraft rebuild"

// nqnPart is what is left for a replica's name of the 223 bytes that an NQN may
// have (SPDK_NVMF_NQN_MAX_LEN).
const nqnPart = 223 - len(helpertypes.NQNPrefix+":-rebuild-00000000-00000000-00000000")

// nqnReplica is the replica's name, or if that is too long a shorter one that
// no other replica has.
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

// controllerName is what a controller for that subsystem is called. It is part
// of bdevs' names, so it is short.
func controllerName(nqn string) string {
	digest := sha256.Sum256([]byte(nqn))
	return "rebuild-" + hex.EncodeToString(digest[:8])
}

// hostNQN is the name that the target connects with.
func (h *Host) hostNQN() string { return "nqn.2014-08.org.nvmexpress:uuid:" + h.store.UUID }
