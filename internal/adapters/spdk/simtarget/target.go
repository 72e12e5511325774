package simtarget

import (
	"fmt"
	"net"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget/nvmeserver"
)

// Target is one simulated target. All its methods may be called from several
// goroutines at once.
type Target struct {
	config Config
	fabric *Fabric
	log    *zap.Logger
	socket net.Listener

	server  *nvmeserver.Server
	serving sync.WaitGroup

	connecting  sync.Mutex
	connections map[*connection]struct{}

	asking sync.Mutex
	ask    func(Request) Fault
	asked  map[string]int // by method

	// What follows is guarded by the fabric's mutex.
	ended      bool
	hangs      bool
	holdsDrops bool     // by HoldDrops
	queue      []func() // what has begun and is not finished
	bdevs      []*bdev  // in the order of their registration
	byName     map[string]*bdev
	stores     []*lvstore
	raids      []*raid

	transport   bool
	subsystems  map[string]*subsystem // by NQN
	inOrder     []*subsystem
	controllers map[string]*controller // by name
	attached    []*controller
	copies      map[uint32]*shallowCopy // those whose end was not handed out
	copiesSoFar uint32
	hostNQN     string // which it connects with by default
	examining   int    // bdevs, just now

	dead  chan struct{} // closed when it has ended
	cause error         // why it has ended by itself; set before dead is closed
}

// Socket is the path of the target's JSON-RPC socket.
func (t *Target) Socket() string { return t.config.Socket }

// Flavour is which SPDK it behaves like.
func (t *Target) Flavour() Flavour { return t.config.Flavour }

// Close ends the target as SIGTERM does: what it has begun is finished, and its
// socket is gone. A target that has ended already is no error.
func (t *Target) Close() error { return t.end() }

// Kill ends the target as kill -9 does. Nothing that it had answered is lost if
// it has a State; everything else is: connections, copies, subsystems.
func (t *Target) Kill() { _ = t.end() }

// end is the same for both: an acknowledged change is in its file already, and
// what was not is cut off between two steps.
func (t *Target) end() error {
	t.fabric.mu.Lock()
	t.die(nil)
	t.fabric.mu.Unlock()
	t.serving.Wait()
	return nil
}

// Done is closed when the target has ended, by itself or by Close or Kill.
func (t *Target) Done() <-chan struct{} { return t.dead }

// Err is why the target has ended by itself; nil as long as Done is not closed, and
// after Close or Kill.
func (t *Target) Err() error {
	select {
	case <-t.dead:
		return t.cause
	default:
		return nil
	}
}

// die is end without the wait for its goroutines. The cause is why it ends by
// itself.
func (t *Target) die(cause error) {
	if t.ended {
		return
	}
	if cause != nil {
		t.cause = fmt.Errorf("%s has ended: %w", t, cause)
		t.log.Error(t.cause.Error())
	}
	t.ended, t.queue = true, nil
	t.fabric.targets = slices.DeleteFunc(t.fabric.targets, func(other *Target) bool { return other == t })
	close(t.dead)
	_ = t.socket.Close()                          // removes the socket, too
	t.serving.Go(func() { _ = t.server.Close() }) // never fails; its sessions may wait for this lock
	for _, c := range t.copies {
		c.stop()
	}
	for _, s := range t.inOrder {
		t.closeListeners(s)
		s.lost()
	}
	for _, b := range t.bdevs {
		b.close()
	}
	for _, s := range t.stores {
		s.takeAway()
	}
	t.connecting.Lock()
	defer t.connecting.Unlock()
	for c := range t.connections {
		c.close()
	}
}

// hang makes the target answer nobody any more. Only Kill and Close end that.
func (t *Target) hang(why string) {
	if !t.hangs {
		t.log.Warn("the target hangs from now on", zap.String("why", why))
	}
	t.hangs, t.queue = true, nil
}

// Hangs reports whether the target has stopped answering.
func (t *Target) Hangs() bool {
	t.fabric.mu.Lock()
	defer t.fabric.mu.Unlock()
	return t.hangs
}

// later finishes what has begun, after the other requests of this turn have
// begun too.
func (t *Target) later(finish func()) { t.queue = append(t.queue, finish) }

// take begins the requests, in their order, and finishes what they have begun.
func (t *Target) take(requests []*request) {
	t.fabric.mu.Lock()
	defer t.fabric.mu.Unlock()
	for _, r := range requests {
		if t.ended || t.hangs {
			return
		}
		r.begin()
	}
	t.drain()
}

// drain finishes what has begun. What is finished may begin more.
func (t *Target) drain() {
	for len(t.queue) > 0 && !t.ended && !t.hangs {
		next := t.queue[0]
		t.queue = t.queue[1:]
		next()
	}
}

// world does something with the target's state outside of a request, unless it has
// ended or hangs.
func (t *Target) world(do func()) {
	t.fabric.mu.Lock()
	defer t.fabric.mu.Unlock()
	if t.ended || t.hangs {
		return
	}
	do()
	t.drain()
}

// begin finds the method and has it begin.
func (r *request) begin() {
	if m, ok := methods[r.method]; ok && m.known(r.target.config.Flavour) {
		r.conclude(m.begin(r.target, r))
		return
	}
	r.conclude(nil, refusal(codeMethodNotFound, "Method not found"))
}

func (t *Target) String() string {
	return fmt.Sprintf("simulated %s target %s", t.config.Flavour, t.config.Socket)
}
