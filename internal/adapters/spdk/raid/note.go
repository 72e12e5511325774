package raid

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// While a RAID is deleted and made again, the target keeps a note of how it was, for the
// case that this process ends: the name of a bdev that holds nothing. So it is there for as
// long as the bases are, and every process that reaches the target finds it.

const notePrefix = "rebuild-raid-"

// noteName begins the name of the note of a RAID.
func noteName(raid string) string {
	return notePrefix + base64.RawURLEncoding.EncodeToString([]byte(raid)) + "-"
}

// note makes the note.
func (d *description) note() (*rpc.Call, error) {
	name, err := d.noted()
	return rpc.CreateNull(name, 1, d.BlockSize), err
}

// forget removes the note.
func (d *description) forget() *rpc.Call {
	name, _ := d.noted() // note has returned its error
	return rpc.DeleteNull(name)
}

func (d *description) noted() (string, error) {
	text, err := json.Marshal(d)
	return noteName(d.Name) + "." + base64.RawURLEncoding.EncodeToString(text), err
}

// readNote reads the name of a bdev, if that is a note of the RAID.
func readNote(raid, bdev string) (*description, bool) {
	text, is := strings.CutPrefix(bdev, noteName(raid)+".")
	if !is {
		return nil, false
	}
	d := &description{}
	plain, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(plain, d) != nil {
		return nil, false
	}
	return d, true
}

// joinsIn is how long a note may be there because another process is making the RAID again
// right now.
const joinsIn = time.Second

// restoreNoted makes the RAID again that a process has deleted, and was killed.
func (m *Mirror) restoreNoted(ctx context.Context) error {
	wait := rpc.BackOff{Pause: 20 * time.Millisecond, Longest: 200 * time.Millisecond, Until: time.Now().Add(joinsIn)}
	for {
		bdevs, err := rpc.GetBdevs().Do(ctx, m.rpc)
		if err != nil {
			return err
		}
		var was *description
		for i := range bdevs {
			if d, is := readNote(m.name, bdevs[i].Name); is {
				was = d
			}
		}
		if was == nil {
			return nil
		}
		if !wait.Next(ctx) {
			if ctx.Err() != nil {
				return fmt.Errorf("%w: %w", context.Cause(ctx), ports.ErrUnavailable)
			}
			m.log.Warn("a process has deleted the RAID and did not make it again", zap.Strings("bases", was.Bases))
			return m.restore(ctx, was)
		}
	}
}
