package liveclient

import (
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// Volume is the volume of the clients. Offsets and lengths are bytes, multiples of
// Config.Block.
type Volume interface {
	io.ReaderAt
	io.WriterAt

	// Trim deallocates a range: each byte of it is the old one or zero afterwards.
	Trim(offset, length int64) error
	// WriteZeroes writes zeros.
	WriteZeroes(offset, length int64) error
}

// Config configures clients. A zero field has its default.
type Config struct {
	Size    int64         // of the volume in bytes
	Seed    uint64        // clients with one seed request the same ranges in the same order
	Clients int           // that read and write at once; 4
	Pause   time.Duration // of each client between two requests, in the mean; 1 ms
	Longest int64         // bytes of a request, apart from trims of whole units; 16 KiB
	Block   int64         // bytes; 1
	Unit    int64         // bytes: half of the trims are of whole units, such as clusters; 1 MiB

	// The share of each kind of request; all zero: 50, 35, 10 and 5.
	Reads, Writes, Trims, Zeroes int
}

func (c *Config) setDefaults() {
	if c.Clients == 0 {
		c.Clients = 4
	}
	if c.Pause == 0 {
		c.Pause = time.Millisecond
	}
	if c.Longest == 0 {
		c.Longest = 16 << 10
	}
	if c.Block == 0 {
		c.Block = 1
	}
	if c.Unit == 0 {
		c.Unit = 1 << 20
	}
	if c.Reads+c.Writes+c.Trims+c.Zeroes == 0 {
		c.Reads, c.Writes, c.Trims, c.Zeroes = 50, 35, 10, 5
	}
}

// longest is the number of bytes of a read of the whole volume.
const longest = 1 << 20

// Clients are clients of a volume that run until Stop.
type Clients struct {
	config Config
	volume Volume
	model  *model

	stopping chan struct{}
	running  sync.WaitGroup

	mu    sync.Mutex
	stats Stats
}

// Start reads the volume once and starts clients, which expect that nobody else writes it.
func Start(volume Volume, config Config) (*Clients, error) {
	config.setDefaults()
	m, err := newModel(volume, config.Size)
	if err != nil {
		return nil, err
	}
	c := &Clients{config: config, volume: volume, model: m, stopping: make(chan struct{})}
	for n := range config.Clients {
		random := rand.New(rand.NewPCG(config.Seed, uint64(n)))
		c.running.Go(func() { c.run(random) })
	}
	return c, nil
}

// Stop waits for the requests that take place, and returns the counts. A second Stop is
// no error.
func (c *Clients) Stop() Stats {
	c.mu.Lock()
	select {
	case <-c.stopping:
	default:
		close(c.stopping)
	}
	c.mu.Unlock()
	c.running.Wait()
	return c.Stats()
}

// Check compares another view of the volume, such as a member of a mirror, with the bytes
// that the clients have written. It is called after Stop.
func (c *Clients) Check(view io.ReaderAt) error {
	p := make([]byte, longest)
	for at := int64(0); at < c.config.Size; at += longest {
		part := p[:min(longest, c.config.Size-at)]
		if err := readFull(view, part, at); err != nil {
			return fmt.Errorf("read %d bytes at %d: %w", len(part), at, err)
		}
		if err := c.model.beginRead(at, int64(len(part))).check(part); err != nil {
			return err
		}
	}
	return nil
}

func (c *Clients) run(random *rand.Rand) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		pause.Reset(c.config.Pause/2 + time.Duration(random.Int64N(int64(c.config.Pause))))
		select {
		case <-c.stopping:
			return
		case <-pause.C:
		}
		c.request(random)
	}
}

// request carries out one request.
func (c *Clients) request(random *rand.Rand) {
	kinds := [...]int{c.config.Reads, c.config.Writes, c.config.Trims, c.config.Zeroes}
	drawn, kind := random.IntN(kinds[0]+kinds[1]+kinds[2]+kinds[3]), 0
	for drawn >= kinds[kind] {
		drawn -= kinds[kind]
		kind++
	}
	switch kind {
	case 0:
		c.read(c.draw(random))
	case 1:
		offset, length := c.draw(random)
		p := noise(random, length)
		c.change(&change{offset: offset, length: length, bytes: p}, &c.stats.Writes, func() error {
			_, err := c.volume.WriteAt(p, offset)
			return err
		})
	case 2:
		offset, length := c.drawTrim(random)
		c.change(&change{offset: offset, length: length, trim: true}, &c.stats.Trims, func() error {
			return c.volume.Trim(offset, length)
		})
	default:
		offset, length := c.draw(random)
		c.change(&change{offset: offset, length: length}, &c.stats.Zeroes, func() error {
			return c.volume.WriteZeroes(offset, length)
		})
	}
}

// draw draws a range of whole blocks.
func (c *Clients) draw(random *rand.Rand) (offset, length int64) {
	blocks := c.config.Size / c.config.Block
	first := random.Int64N(blocks)
	most := min(blocks-first, max(1, c.config.Longest/c.config.Block))
	return first * c.config.Block, (1 + random.Int64N(most)) * c.config.Block
}

// drawTrim draws whole units, or any range.
func (c *Clients) drawTrim(random *rand.Rand) (offset, length int64) {
	units := c.config.Size / c.config.Unit
	if units == 0 || random.IntN(2) == 0 {
		return c.draw(random)
	}
	first := random.Int64N(units)
	return first * c.config.Unit, (1 + random.Int64N(min(2, units-first))) * c.config.Unit
}

func (c *Clients) read(offset, length int64) {
	p := make([]byte, length)
	begun := time.Now()
	r := c.model.beginRead(offset, length)
	err := readFull(c.volume, p, offset)
	wrong := r.check(p)
	if err != nil {
		wrong = nil
	}
	c.count(&c.stats.Reads, begun, err, wrong)
}

// readFull reads all bytes. At the end of the volume an io.ReaderAt may return io.EOF with them.
func readFull(from io.ReaderAt, p []byte, offset int64) error {
	n, err := from.ReadAt(p, offset)
	if err == io.EOF && n == len(p) {
		return nil
	}
	return err
}

// change carries out a change, unless another one takes place in that range.
func (c *Clients) change(it *change, counter *uint64, do func() error) {
	if !c.model.begin(it) {
		return
	}
	begun := time.Now()
	err := do()
	c.model.end(it, err == nil)
	c.count(counter, begun, err, nil)
}
