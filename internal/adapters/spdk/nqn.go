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

// runNQN is a new name for a subsystem of a run: Longhorn's prefix, the replica,
// the run, and 8 hex digits. A run may have several, on several hosts and one
// after the other, and no name is given twice: a controller may still be attached
// to the last one.
//
// A replica may be called "vol-1-rebuild-0badcafe", and Longhorn exports it under
// a name that would be vol-1's here; so a subsystem or controller is ours only
// with a second mark (modelNumber, controllerName).
func runNQN(run ports.Run) string {
	return helpertypes.GetNQN(nqnReplica(run.Replica) + "-rebuild-" + run.ID + "-" + newID())
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
const nqnPart = 223 - len(helpertypes.NQNPrefix+":-rebuild-00000000-00000000")

// nqnReplica is the replica's name, or if that is too long a shorter one that
// no other replica has.
func nqnReplica(replica string) string {
	if len(replica) <= nqnPart {
		return replica
	}
	digest := sha256.Sum256([]byte(replica))
	short := hex.EncodeToString(digest[:16])
	return strings.ToValidUTF8(replica[:nqnPart-len(short)-1], "") + "-" + short
}

var runSuffix = regexp.MustCompile(`^-rebuild-[0-9a-f]{8}-[0-9a-f]{8}$`)

// isRunNQN reports whether the NQN is one of some run of the replica.
func isRunNQN(nqn, replica string) bool {
	rest, ok := strings.CutPrefix(nqn, helpertypes.GetNQN(nqnReplica(replica)))
	return ok && runSuffix.MatchString(rest)
}

// controllerName is what a controller for that subsystem is called. It is part
// of bdevs' names, so it is short.
func controllerName(nqn string) string {
	digest := sha256.Sum256([]byte(nqn))
	return "rebuild-" + hex.EncodeToString(digest[:8])
}

// hostNQN is the name that the target connects with.
func (h *Host) hostNQN() string { return "nqn.2014-08.org.nvmexpress:uuid:" + h.storeUUID }
