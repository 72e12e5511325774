package simtarget

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
)

// Flavour is which SPDK a target behaves like.
type Flavour int

const (
	// Fork is Longhorn's branch v24.09: maps, checksums, xattrs, long names.
	Fork Flavour = iota
	// Upstream is SPDK v25.09 as it is published.
	Upstream
)

// String is "fork" or "upstream".
func (f Flavour) String() string {
	if f == Upstream {
		return "upstream"
	}
	return "fork"
}

// ParseFlavour reads what String writes.
func ParseFlavour(text string) (Flavour, error) {
	for _, f := range []Flavour{Fork, Upstream} {
		if text == f.String() {
			return f, nil
		}
	}
	return 0, fmt.Errorf("flavour %q: expected fork or upstream", text)
}

// nameLimit is how many bytes the name of an lvol or an lvstore may have:
// SPDK_LVOL_NAME_MAX and SPDK_LVS_NAME_MAX without the final zero.
func (f Flavour) nameLimit() int {
	if f == Upstream {
		return 63
	}
	return 255
}

func (f Flavour) memory() memory.Flavour {
	if f == Upstream {
		return memory.Upstream
	}
	return memory.Fork
}

// Config says what a target is like.
type Config struct {
	// Socket is the path of its JSON-RPC socket. What is there already is
	// replaced if nobody listens on it.
	Socket string

	// Within has the target take nothing of the machine: its socket, which is no
	// file, is reached by Fabric.Dial, and its NVMe-oF listeners by other targets of
	// the fabric only. So a whole fabric fits into a bubble of testing/synctest.
	Within bool

	Flavour Flavour

	// State is a directory in which lvstores are kept, so that a target finds
	// them again after the process was killed. It is made if it is not there;
	// several targets may have one. "": the fabric keeps them, so a target that
	// was killed and is started again on it finds them, too.
	State string

	// Poll is how often the target looks at its sockets; SPDK does every 4 ms.
	// 0: it answers at once.
	Poll time.Duration

	// Inject is asked about each request, if it is set; see Target.Inject.
	Inject func(Request) Fault

	Logger *zap.Logger // nil: nothing is logged
}
