package targettest

import (
	"bytes"
	"encoding/json"
	"maps"
	"net"
	"sync"
	"testing"
)

// Tally counts the calls that go through its proxies.
type Tally struct {
	mu      sync.Mutex
	seen    Seen
	waiting int // calls without an answer, over all proxies
}

// Seen is what a Tally has counted.
type Seen struct {
	ByMethod map[string]int

	// Trips is how often a call set out while none was under way: the round
	// trips one after the other, where nothing goes on beside them.
	Trips int
}

// What asks again is a poll: how far a copy is, and whether a new namespace has
// become a bdev, which only a copy that starts too early tells.
const (
	check      = "bdev_lvol_check_shallow_copy"
	start      = "bdev_lvol_start_shallow_copy"
	startAgain = start + ", refused"
)

var polls = map[string]bool{check: true, startAgain: true}

// Calls are all but polls.
func (s Seen) Calls() (n int) {
	for method, count := range s.ByMethod {
		if !polls[method] {
			n += count
		}
	}
	return n
}

// NewTally has counted nothing yet.
func NewTally() *Tally { return &Tally{seen: Seen{ByMethod: make(map[string]int)}} }

// Take is what was counted since the last time.
func (y *Tally) Take() Seen {
	y.mu.Lock()
	defer y.mu.Unlock()
	taken := Seen{ByMethod: maps.Clone(y.seen.ByMethod), Trips: y.seen.Trips}
	y.seen.Trips = 0
	clear(y.seen.ByMethod)
	return taken
}

// Proxy is a socket that passes everything on to the target's, until the test
// ends.
func (y *Tally) Proxy(t *testing.T, target string) (socket string) {
	t.Helper()
	var serving sync.WaitGroup
	return listen(t, &serving, func(client net.Conn) {
		server, err := net.Dial("unix", target)
		if err != nil {
			_ = client.Close()
			return
		}
		asked := make(map[uint32]string)
		serving.Go(func() { y.pass(client, server, func(m message) { y.answer(asked, m) }) })
		serving.Go(func() { y.pass(server, client, func(m message) { y.request(asked, m) }) })
	})
}

// pass copies what comes, chunk by chunk, so that calls that were written
// together arrive together. see is told the messages that end in a chunk first.
func (y *Tally) pass(to, from net.Conn, see func(message)) {
	defer func() { _ = to.Close(); _ = from.Close() }()
	var unread []byte
	for chunk := make([]byte, 1<<20); ; {
		n, err := from.Read(chunk)
		if err != nil {
			return
		}
		var messages []message
		messages, unread = split(append(unread, chunk[:n]...))
		y.mu.Lock()
		for _, m := range messages {
			see(m)
		}
		y.mu.Unlock()
		if _, err := to.Write(chunk[:n]); err != nil {
			return
		}
	}
}

// message is a request or an answer.
type message struct {
	ID     uint32          `json:"id"`
	Method string          `json:"method"`
	Error  json.RawMessage `json:"error"`
}

// split cuts the whole messages off.
func split(b []byte) (whole []message, rest []byte) {
	in := json.NewDecoder(bytes.NewReader(b))
	for {
		at := in.InputOffset()
		var m message
		if in.Decode(&m) != nil {
			return whole, bytes.Clone(bytes.TrimSpace(b[at:]))
		}
		whole = append(whole, m)
	}
}

func (y *Tally) request(asked map[uint32]string, m message) {
	asked[m.ID] = m.Method
	y.seen.ByMethod[m.Method]++
	if y.waiting == 0 {
		y.seen.Trips++
	}
	y.waiting++
}

func (y *Tally) answer(asked map[uint32]string, m message) {
	if asked[m.ID] == start && len(m.Error) > 0 {
		y.seen.ByMethod[start]--
		y.seen.ByMethod[startAgain]++
	}
	delete(asked, m.ID)
	y.waiting--
}
