package e2e

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/liveclient"
)

// timedVolume notes the requests of clients.
type timedVolume struct {
	liveclient.Volume

	mu       sync.Mutex
	requests []timedRequest // in the order in which they ended
}

type timedRequest struct {
	ended time.Time
	took  time.Duration
}

func (v *timedVolume) note(began time.Time) {
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.requests = append(v.requests, timedRequest{now, now.Sub(began)})
}

// ReadAt implements io.ReaderAt.
func (v *timedVolume) ReadAt(p []byte, offset int64) (int, error) {
	defer v.note(time.Now())
	return v.Volume.ReadAt(p, offset)
}

// WriteAt implements io.WriterAt.
func (v *timedVolume) WriteAt(p []byte, offset int64) (int, error) {
	defer v.note(time.Now())
	return v.Volume.WriteAt(p, offset)
}

// since returns the requests that have ended since then.
func (v *timedVolume) since(then time.Time) []timedRequest {
	v.mu.Lock()
	defer v.mu.Unlock()
	at, _ := slices.BinarySearchFunc(v.requests, then, func(r timedRequest, then time.Time) int { return r.ended.Compare(then) })
	return slices.Clone(v.requests[at:])
}

// timeClients has the clients that start from now on timed.
func (v *liveVolume) timeClients() *timedVolume {
	timed := &timedVolume{Volume: v.client}
	v.client = timed
	return timed
}

const (
	aloneFor     = 5 * time.Second // clients without a rebuild
	measureLimit = 20 << 20        // bytes a second
)

// measureClients has four clients read and write blocks of 4 KiB without a pause: alone, during a
// rebuild, and during one with limited bandwidth.
func measureClients(t *testing.T, name string, at *liveTargets) {
	v := growLiveVolume(t, at, 2, true, func(p *place, replica string) { p.growEight(t, replica, 32, at.volume) })
	timed := v.timeClients()
	v.start(t, liveclient.Config{Longest: 4096, Pause: 1, Reads: 50, Writes: 50})
	v.awaitWrites(t, 1000) // most clusters are allocated
	tell(t, name, "clients, 4 KiB\tI/O a second\tmedian ms\t99th\tworst", func(row func(...any)) {
		during := func(what string, do func()) {
			began := time.Now()
			do()
			all := timed.since(began)
			require.NotEmpty(t, all)
			took := make([]time.Duration, 0, len(all))
			for _, r := range all {
				took = append(took, r.took)
			}
			slices.Sort(took)
			row(what, int(float64(len(took))/time.Since(began).Seconds()), ms(took[len(took)/2]), ms(took[len(took)*99/100]), ms(took[len(took)-1]))
		}
		during("alone", func() { time.Sleep(aloneFor) })
		during("during a rebuild", func() { v.measured(t, v.request()) })
		v.forget(t)
		during("with a limit of 20 MiB/s", func() {
			request := v.request()
			request.Bandwidth = []*rebuild.Bandwidth{rebuild.NewBandwidth(measureLimit)}
			v.measured(t, request)
		})
	})
	v.stop(t)
}
