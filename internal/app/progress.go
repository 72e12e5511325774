package app

import (
	"sync"
	"time"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
)

// Observer is told how a rebuild goes. It must return soon: the rebuild waits
// for it. Calls come one after the other.
type Observer interface {
	// Observe is told one event.
	Observe(Event)
}

// Event is one thing that happened in a rebuild.
type Event struct {
	Kind EventKind
	At   time.Time

	Plan     *domain.Plan // planned
	Verb     domain.Verb  // began, ended, retry
	Stage    domain.Stage // began, ended, retry: a graft of StageLoosen sets an lvol loose
	Snapshot string       // began, ended, copying, retry: the snapshot's name; "" for the image and the head
	LvolName string       // began, ended, retry: the lvol's name, "" for one in flight that has no other
	Text     string       // again, verified, retry, waiting, source-lost: in words
	Source   string       // copying and ended of a copy, source-lost: "REPLICA on lvstore NAME", where the rebuild has several sources

	SnapshotDone  uint64 // copying: payload of the snapshot that is copied so far, in bytes; after a retry it counts anew
	SnapshotTotal uint64 // copying: all of it

	BytesDone  uint64        // payload copied so far, in this run
	BytesTotal uint64        // payload that the plan copies
	Rate       float64       // bytes per second since the first byte
	Left       time.Duration // at that rate; 0 while there is no rate
}

// EventKind says which of an Event's fields mean something.
type EventKind string

// The kinds of events, in the order in which they come first.
const (
	EventPlanned  EventKind = "planned"  // there is a plan; it comes again after a system snapshot, or when the store changed meanwhile
	EventBegan    EventKind = "began"    // an operation
	EventCopying  EventKind = "copying"  // more bytes are there
	EventEnded    EventKind = "ended"    // an operation
	EventRetry    EventKind = "retry"    // an operation failed for a passing reason and is done again
	EventWaiting  EventKind = "waiting"  // something is busy, and has been waited for longer than 2 seconds
	EventAgain    EventKind = "again"    // something changed meanwhile: planned again
	EventVerified EventKind = "verified" // all but the head was looked at and is right
	EventReading  EventKind = "reading"  // views, or an image's file, are being read; the bytes and the rate are of that
	EventWriting  EventKind = "writing"  // an image is being written, likewise

	EventSourceLost EventKind = "source-lost" // of several sources one has failed, and is not used any more in this rebuild
)

// progress counts the bytes of a run and tells the observer.
type progress struct {
	observer Observer

	mu          sync.Mutex
	clusterSize uint64
	began       time.Time      // of the first copy
	ofCopy      map[int]uint64 // clusters copied, by operation
	done, total uint64         // clusters
	earlier     uint64         // bytes that earlier attempts of this run copied

	reading           time.Time // when reading began
	readDone, readAll uint64    // bytes
}

func newProgress(observer Observer) *progress { return &progress{observer: observer} }

// planned begins an attempt.
func (p *progress) planned(plan domain.Plan, clusterSize uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.earlier += p.done * p.clusterSize
	p.ofCopy, p.done, p.total, p.clusterSize = make(map[int]uint64), 0, plan.CopiedClusters(), clusterSize
	p.tell(Event{Kind: EventPlanned, Plan: &plan})
}

func (p *progress) operation(kind EventKind, s executor.Step, source string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tell(Event{Kind: kind, Verb: s.Verb, Stage: s.Stage, Snapshot: s.Subject, LvolName: s.Name, Source: source})
}

func (p *progress) lostSource(source, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tell(Event{Kind: EventSourceLost, Source: source, Text: text})
}

func (p *progress) retry(s executor.Step, failure error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tell(Event{Kind: EventRetry, Verb: s.Verb, Stage: s.Stage, Snapshot: s.Subject, LvolName: s.Name, Text: failure.Error()})
}

func (p *progress) say(kind EventKind, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tell(Event{Kind: kind, Text: text})
}

// copying counts what one copy has done; a copy that begins anew counts anew.
func (p *progress) copying(s executor.Step, source string, clusters uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.began.IsZero() {
		p.began = time.Now()
	}
	if was, known := p.ofCopy[s.Index]; known && was == clusters {
		return
	}
	p.done += clusters - p.ofCopy[s.Index]
	p.ofCopy[s.Index] = clusters
	p.tell(Event{
		Kind: EventCopying, Verb: s.Verb, Snapshot: s.Subject, Source: source,
		SnapshotDone: clusters * p.clusterSize, SnapshotTotal: s.Source.Clusters * p.clusterSize,
	})
}

// copied is the payload of the run so far, in bytes.
func (p *progress) copied() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.earlier + p.done*p.clusterSize
}

// reads begins the reading of lvols.
func (p *progress) reads(lvols []domain.Lvol) {
	var all uint64
	for _, l := range lvols {
		all += l.Size
	}
	p.readsBytes(all)
}

func (p *progress) readsBytes(all uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reading, p.readDone, p.readAll = time.Now(), 0, all
}

// read counts bytes that were read.
func (p *progress) read(bytes uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readDone += bytes
	p.tell(Event{Kind: EventReading})
}

// unread takes back what is going to be read again.
func (p *progress) unread(bytes uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readDone -= bytes
}

// wrote counts bytes of an image that are on the host.
func (p *progress) wrote(bytes uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readDone += bytes
	p.tell(Event{Kind: EventWriting})
}

func (p *progress) tell(e Event) {
	if p.observer == nil {
		return
	}
	e.At = time.Now()
	began := p.began
	e.BytesDone, e.BytesTotal = p.done*p.clusterSize, p.total*p.clusterSize
	if e.Kind == EventReading || e.Kind == EventWriting {
		began = p.reading
		e.BytesDone, e.BytesTotal = p.readDone, p.readAll
	}
	if passed := e.At.Sub(began); !began.IsZero() && passed > 0 {
		e.Rate = float64(e.BytesDone) / passed.Seconds()
	}
	if e.Rate > 0 {
		e.Left = time.Duration(float64(e.BytesTotal-e.BytesDone) / e.Rate * float64(time.Second))
	}
	p.observer.Observe(e)
}
