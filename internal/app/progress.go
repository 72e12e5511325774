package app

import (
	"sync"
	"time"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
)

// Observer receives the events of a run, one after the other. It must return soon: the run
// waits for it.
type Observer interface {
	// Observe is called for each event.
	Observe(Event)
}

// Event is one event of a run. The comment of a field names the kinds that set it.
type Event struct {
	Kind EventKind
	At   time.Time

	Plan     *domain.Plan // planned
	Verb     domain.Verb  // began, ended, retry
	Stage    domain.Stage // began, ended, retry: a graft in StageDetach removes the parent of an lvol
	Snapshot string       // began, ended, copying, retry: the snapshot's name; "" for the image and the head
	LvolName string       // began, ended, retry: the lvol's name; "" if it has only an in-flight one
	Text     string       // again, verified, retry, waiting, source-lost, cut, landed: a sentence
	Source   string       // copying and ended of a copy, source-lost: "REPLICA on lvstore NAME", if the rebuild has several sources

	SnapshotDone  uint64 // copying: bytes of the snapshot that are copied so far; a retry starts at 0 again
	SnapshotTotal uint64 // copying: all bytes of the snapshot

	BytesDone  uint64        // bytes copied so far, in this run
	BytesTotal uint64        // bytes that the plan copies
	Rate       float64       // bytes per second since the first byte
	Left       time.Duration // estimated time left at that rate; 0: no rate yet

	// Mode is that of the destination in a live volume, as far as the run knows: WO from the cut
	// on, RW once it is whole, ERR if the volume has lost it. "": it is no member.
	Mode domain.Mode
}

// EventKind is the kind of an Event. It decides which fields are set.
type EventKind string

// The kinds of events, in the order of their first appearance.
const (
	EventPlanned  EventKind = "planned"  // a plan was made; a new one follows a system snapshot or a change of the store
	EventBegan    EventKind = "began"    // an operation began
	EventCopying  EventKind = "copying"  // more bytes were copied
	EventEnded    EventKind = "ended"    // an operation ended
	EventRetry    EventKind = "retry"    // an operation failed temporarily and is retried; while something is only busy, it is EventWaiting
	EventWaiting  EventKind = "waiting"  // the run has waited for something busy for more than 2 seconds
	EventAgain    EventKind = "again"    // the store changed: a new plan is made
	EventVerified EventKind = "verified" // everything except the head was verified
	EventReading  EventKind = "reading"  // lvols or the content of an image are read; bytes and rate count reads
	EventWriting  EventKind = "writing"  // an image is written; bytes and rate count writes

	// Of a rebuild under a live volume:
	EventCut    EventKind = "cut"    // the volume was frozen for the time in the text, and the live head is a member
	EventLanded EventKind = "landed" // the destination is a whole member

	EventSourceLost EventKind = "source-lost" // one of several sources failed and is no longer used
)

// progress counts the bytes of a run and reports to the observer.
type progress struct {
	observer Observer

	mu          sync.Mutex
	clusterSize uint64
	began       time.Time      // of the first copy
	ofCopy      map[int]uint64 // clusters copied, by operation
	done, total uint64         // clusters
	earlier     uint64         // bytes that earlier attempts of this run copied
	mode        domain.Mode

	reading           time.Time // when reading began
	readDone, readAll uint64    // bytes
}

func newProgress(observer Observer) *progress { return &progress{observer: observer} }

func (p *progress) planned(plan domain.Plan, clusterSize uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.earlier += p.done * p.clusterSize
	p.ofCopy, p.done, p.total, p.clusterSize = make(map[int]uint64), 0, plan.CopiedClusters(), clusterSize
	p.observe(Event{Kind: EventPlanned, Plan: &plan})
}

// member sets the mode of the destination in a live volume.
func (p *progress) member(mode domain.Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = mode
}

func (p *progress) operation(kind EventKind, s executor.Step, source string) {
	p.event(Event{Kind: kind, Verb: s.Verb, Stage: s.Stage, Snapshot: s.Subject, LvolName: s.Name, Source: source})
}

func (p *progress) lostSource(source, text string) {
	p.event(Event{Kind: EventSourceLost, Source: source, Text: text})
}

func (p *progress) retry(s executor.Step, failure error) {
	p.event(Event{Kind: EventRetry, Verb: s.Verb, Stage: s.Stage, Snapshot: s.Subject, LvolName: s.Name, Text: failure.Error()})
}

func (p *progress) emit(kind EventKind, text string) {
	p.event(Event{Kind: kind, Text: text})
}

// copying sets the clusters of one copy. A retry counts from 0 again.
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
	p.observe(Event{
		Kind: EventCopying, Verb: s.Verb, Snapshot: s.Subject, Source: source,
		SnapshotDone: clusters * p.clusterSize, SnapshotTotal: s.Source.Clusters * p.clusterSize,
	})
}

// copied is the number of bytes that the run has copied so far.
func (p *progress) copied() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.earlier + p.done*p.clusterSize
}

func (p *progress) beginReading(lvols []domain.Lvol) {
	var all uint64
	for _, l := range lvols {
		all += l.Size
	}
	p.beginReadingBytes(all)
}

func (p *progress) beginReadingBytes(all uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reading, p.readDone, p.readAll = time.Now(), 0, all
}

func (p *progress) read(bytes uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readDone += bytes
	p.observe(Event{Kind: EventReading})
}

// unread subtracts bytes that are read again.
func (p *progress) unread(bytes uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readDone -= bytes
}

func (p *progress) wrote(bytes uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readDone += bytes
	p.observe(Event{Kind: EventWriting})
}

// event reports an event to the observer.
func (p *progress) event(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.observe(e)
}

func (p *progress) observe(e Event) {
	if p.observer == nil {
		return
	}
	e.At, e.Mode = time.Now(), p.mode
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
