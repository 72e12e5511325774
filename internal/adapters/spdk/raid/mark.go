package raid

import (
	"context"
	"strings"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/randid"
)

// A mark is a bdev that holds nothing. It is made as a member joins, and ends with the
// target, as the RAID does.

// newMark is the name of a mark for the replica's head.
func newMark(replica string) string { return markPrefix(replica) + randid.Hex(4) }

func markPrefix(replica string) string { return "joined-" + nvmf.HeadController(replica) + "-" }

// isMark reports whether a bdev is a mark of the replica's.
func isMark(bdev, replica string) bool {
	id, is := strings.CutPrefix(bdev, markPrefix(replica))
	return is && len(id) == len(randid.Hex(4)) && !strings.Contains(id, "-")
}

// removeMarks removes the marks of the replica's head, of this process and of others that
// have crashed.
func (m *Mirror) removeMarks(ctx context.Context, replica string) error {
	bdevs, err := rpc.GetBdevs().Do(ctx, m.rpc)
	if err != nil {
		return err
	}
	var calls []*rpc.Call
	for i := range bdevs {
		if name := bdevs[i].Name; isMark(name, replica) {
			m.heads.unmark(name, m.rpc.ConnectionNumber())
			calls = append(calls, rpc.DeleteNull(name))
		}
	}
	m.rpc.Do(ctx, rpc.Requests(calls)...)
	return rpc.FirstErr(calls, ports.ErrNotFound)
}
