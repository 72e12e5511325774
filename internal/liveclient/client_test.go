package liveclient_test

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/liveclient"
)

const size = 64 << 10

var (
	errTorn = errors.New("wire torn")
	config  = liveclient.Config{Size: size, Seed: 7, Unit: 4096, Longest: 4000}
)

// disk is a volume in memory whose requests take a millisecond. A fault replaces the n-th
// change or read.
type disk struct {
	mu      sync.Mutex
	bytes   []byte
	changes int
	log     []int64 // offsets
	pause   time.Duration

	onChange func(n int, do func()) error
	onRead   func(p []byte)
	reading  error  // of all reads, beside all the bytes
	freeze   func() // before a request
}

func newDisk() *disk {
	return &disk{
		bytes:    bytes.Repeat([]byte{3}, size),
		pause:    time.Millisecond,
		onChange: func(_ int, do func()) error { do(); return nil },
		onRead:   func([]byte) {},
		freeze:   func() {},
	}
}

func (d *disk) ReadAt(p []byte, offset int64) (int, error) {
	d.freeze()
	time.Sleep(d.pause)
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(p, d.bytes[offset:])
	d.onRead(p)
	return len(p), d.reading
}

func (d *disk) change(offset int64, do func()) error {
	d.freeze()
	time.Sleep(d.pause / 2)
	d.mu.Lock()
	d.changes++
	d.log = append(d.log, offset)
	err := d.onChange(d.changes, do)
	d.mu.Unlock()
	time.Sleep(d.pause / 2)
	return err
}

func (d *disk) WriteAt(p []byte, offset int64) (int, error) {
	return len(p), d.change(offset, func() { copy(d.bytes[offset:], p) })
}

func (d *disk) WriteZeroes(offset, length int64) error {
	return d.change(offset, func() { clear(d.bytes[offset : offset+length]) })
}

// Trim is a store's that gives back whole units only.
func (d *disk) Trim(offset, length int64) error {
	first, end := (offset+4095)/4096*4096, (offset+length)/4096*4096
	return d.change(offset, func() {
		if first < end {
			clear(d.bytes[first:end])
		}
	})
}

// play runs clients on the disk for two seconds.
func play(t *testing.T, d *disk, also func(c *liveclient.Clients)) liveclient.Stats {
	t.Helper()
	c, err := liveclient.Start(d, config)
	require.NoError(t, err)
	time.Sleep(2 * time.Second)
	stats := c.Stop()
	require.Equal(t, stats, c.Stop())
	if also != nil {
		also(c)
	}
	return stats
}

func TestCorrectVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		stats := play(t, d, func(c *liveclient.Clients) {
			require.NoError(t, c.Check(d))
			d.bytes[5000] ^= 0xff
			require.ErrorContains(t, c.Check(d), "byte 5000 is")
		})
		require.NoError(t, stats.FirstWrong)
		require.Zero(t, stats.Failures)
		require.Equal(t, time.Millisecond, stats.Longest)
		for name, n := range map[string]uint64{"reads": stats.Reads, "writes": stats.Writes, "trims": stats.Trims, "zeroes": stats.Zeroes} {
			require.Greater(t, n, uint64(100), name)
		}
	})
}

func TestWrongVolumes(t *testing.T) {
	for name, spoil := range map[string]func(d *disk){
		"loses a write": func(d *disk) {
			d.onChange = func(n int, do func()) error {
				if n%50 != 0 {
					do()
				}
				return nil
			}
		},
		"acknowledges before it writes": func(d *disk) {
			d.onChange = func(_ int, do func()) error {
				go func() {
					time.Sleep(20 * time.Millisecond)
					d.mu.Lock()
					defer d.mu.Unlock()
					do()
				}()
				return nil
			}
		},
		"reads other bytes": func(d *disk) {
			d.onRead = func(p []byte) { p[len(p)-1] ^= 0x10 }
		},
		"has a stale copy": func(d *disk) {
			old, n := bytes.Clone(d.bytes), 0
			d.onRead = func(p []byte) {
				if n++; n%3 == 0 {
					copy(p, old)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk()
				c, err := liveclient.Start(d, config)
				require.NoError(t, err)
				d.mu.Lock()
				spoil(d)
				d.mu.Unlock()
				time.Sleep(2 * time.Second)
				stats := c.Stop()
				require.NotZero(t, stats.Wrong)
				require.Error(t, stats.FirstWrong)
				time.Sleep(time.Second)
			})
		})
	}
}

// After a failed write the volume may have the old or the new bytes.
func TestFailuresAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.onChange = func(n int, do func()) error {
			if n%4 != 0 {
				do()
			}
			if n%4 < 2 {
				return errTorn
			}
			return nil
		}
		stats := play(t, d, nil)
		require.ErrorIs(t, stats.Failure, errTorn)
		require.EqualValues(t, d.changes/2, stats.Failures)
		require.NoError(t, stats.FirstWrong)
	})
}

// io.ReaderAt permits io.EOF beside all bytes, and no other error.
func TestReadThatFailsIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.reading = io.EOF
		play(t, d, func(c *liveclient.Clients) {
			require.NoError(t, c.Check(d))
			d.reading = errTorn
			require.ErrorIs(t, c.Check(d), errTorn)
		})
		_, err := liveclient.Start(d, config)
		require.ErrorIs(t, err, errTorn)
	})
}

func TestLongestAnswerIsTheFreeze(t *testing.T) {
	const freeze = 300 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		from := time.Now().Add(time.Second)
		d.freeze = func() {
			if now := time.Now(); !now.Before(from) && now.Before(from.Add(freeze)) {
				time.Sleep(from.Add(freeze).Sub(now))
			}
		}
		longest := play(t, d, nil).Longest
		require.Greater(t, longest, freeze-10*time.Millisecond)
		require.LessOrEqual(t, longest, freeze+time.Millisecond)
	})
}

func TestOneSeedRequestsTheSame(t *testing.T) {
	played := func() (log []int64) {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk()
			one := config
			one.Clients = 1
			c, err := liveclient.Start(d, one)
			require.NoError(t, err)
			time.Sleep(time.Second)
			c.Stop()
			log = d.log
		})
		return log
	}
	first := played()
	require.NotEmpty(t, first)
	require.Equal(t, first, played())
}
