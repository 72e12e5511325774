package journalfile

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/rootgraft/rebuild"
)

// line is an entry in the file. Its JSON names are the file format: fields that are added
// later are optional.
type line struct {
	At      time.Time `json:"at"`
	Run     string    `json:"run"`
	Store   string    `json:"store"`
	Lvstore string    `json:"lvstore,omitempty"`
	Replica string    `json:"replica"`

	Began  *began  `json:"began,omitempty"`
	Sealed *sealed `json:"sealed,omitempty"`
	Ended  *ended  `json:"ended,omitempty"`
}

// isOfRun reports whether both lines are of one run.
func (l line) isOfRun(other line) bool {
	return l.Run == other.Run && l.Replica == other.Replica && l.Store == other.Store
}

type began struct {
	Sources []string `json:"sources"`
}

type sealed struct {
	Snapshot       string `json:"snapshot"`
	Source         string `json:"source"`
	Copy           string `json:"copy"`
	SourceClusters uint64 `json:"sourceClusters"`
	CopyClusters   uint64 `json:"copyClusters"`
}

type ended struct {
	Outcome     string    `json:"outcome"`
	Error       string    `json:"error,omitempty"`
	Image       string    `json:"image,omitempty"`
	Full        bool      `json:"full,omitempty"`
	Steps       []decided `json:"steps,omitempty"`
	Warnings    []string  `json:"warnings,omitempty"`
	CopiedBytes uint64    `json:"copiedBytes"`
	DurationMS  int64     `json:"durationMs"`
	Served      []served  `json:"served,omitempty"`
	Deleted     []deleted `json:"deleted,omitempty"`
}

type deleted struct {
	Name     string `json:"lvol"`
	Clusters uint64 `json:"clusters,omitempty"`
	Degraded bool   `json:"degraded,omitempty"`
}

type served struct {
	Replica     string   `json:"replica"`
	Lvstore     string   `json:"lvstore,omitempty"`
	State       string   `json:"state"`
	Reason      string   `json:"reason,omitempty"`
	Snapshots   []string `json:"snapshots,omitempty"`
	CopiedBytes uint64   `json:"copiedBytes"`
}

type decided struct {
	Action   rebuild.Action `json:"action"`
	Snapshot string         `json:"snapshot,omitempty"`
	Parent   string         `json:"parent,omitempty"`
	Reason   string         `json:"reason,omitempty"`
	Clusters uint64         `json:"clusters,omitempty"`
}

func newLine(e rebuild.Entry) line {
	l := line{At: e.At.UTC(), Run: e.Run.ID, Store: e.Store, Lvstore: e.Lvstore, Replica: e.Run.Replica}
	if e.Began != nil {
		l.Began = &began{Sources: e.Began.Sources}
	}
	if s := e.Sealed; s != nil {
		l.Sealed = &sealed{s.Snapshot, s.Sealing.Source, s.Sealing.Copy, s.Sealing.SourceClusters, s.Sealing.CopyClusters}
	}
	if x := e.Ended; x != nil {
		l.Ended = &ended{
			Outcome: x.Outcome, Error: x.Error, Image: x.Image, Full: x.Full, Warnings: x.Warnings,
			CopiedBytes: x.CopiedBytes, DurationMS: x.Duration.Milliseconds(),
		}
		for _, s := range x.Steps {
			l.Ended.Steps = append(l.Ended.Steps, decided(s))
		}
		for _, s := range x.Served {
			l.Ended.Served = append(l.Ended.Served, served(s))
		}
		for _, d := range x.Deleted {
			l.Ended.Deleted = append(l.Ended.Deleted, deleted(d))
		}
	}
	return l
}

func (l line) entry() rebuild.Entry {
	e := rebuild.Entry{At: l.At, Run: rebuild.Run{Replica: l.Replica, ID: l.Run}, Store: l.Store, Lvstore: l.Lvstore}
	if l.Began != nil {
		e.Began = &rebuild.Began{Sources: l.Began.Sources}
	}
	if s := l.Sealed; s != nil {
		e.Sealed = &rebuild.Sealed{Snapshot: s.Snapshot, Sealing: s.sealing()}
	}
	if x := l.Ended; x != nil {
		e.Ended = &rebuild.Ended{
			Outcome: x.Outcome, Error: x.Error, Image: x.Image, Full: x.Full, Warnings: x.Warnings,
			CopiedBytes: x.CopiedBytes, Duration: time.Duration(x.DurationMS) * time.Millisecond,
		}
		for _, s := range x.Steps {
			e.Ended.Steps = append(e.Ended.Steps, rebuild.Decided(s))
		}
		for _, s := range x.Served {
			e.Ended.Served = append(e.Ended.Served, rebuild.Served(s))
		}
		for _, d := range x.Deleted {
			e.Ended.Deleted = append(e.Ended.Deleted, rebuild.Deletion(d))
		}
	}
	return e
}

func (s *sealed) sealing() rebuild.Sealing {
	return rebuild.Sealing{Source: s.Source, Copy: s.Copy, SourceClusters: s.SourceClusters, CopyClusters: s.CopyClusters}
}

// sumLength is a CRC-32 in hex and a space.
const sumLength = 9

// encode returns the line with its checksum and a newline.
func (l line) encode() ([]byte, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(text), text), nil
}

// beginsLine reports whether the text begins as every line does, intact or not.
func beginsLine(text []byte) bool {
	const body = `{"at":"`
	if len(text) < sumLength+len(body) {
		return false
	}
	_, err := hex.DecodeString(string(text[:sumLength-1]))
	return err == nil && string(text[sumLength-1:][:1+len(body)]) == " "+body
}

// decodeLine decodes a line without its newline; ok is false if it is damaged.
func decodeLine(text []byte) (l line, ok bool) {
	if len(text) < sumLength {
		return line{}, false
	}
	body := text[sumLength:]
	if !bytes.Equal(text[:sumLength], fmt.Appendf(nil, "%08x ", crc32.ChecksumIEEE(body))) {
		return line{}, false
	}
	if err := json.Unmarshal(body, &l); err != nil || l.Store == "" || l.Replica == "" {
		return line{}, false
	}
	return l, true
}
