package simtarget

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// disk is where an lvstore is kept: a directory of Config.State, or nowhere.
//
// A journal has one line for each change, which tells all that is to be known of
// the lvols that it changed; so a change of several is whole or is not there. The
// clusters of an lvol are in a file of its own, each at its place; a snapshot
// takes its lvol's file over. A cluster is written before the line that says it is
// there. What was written survives kill -9, not a power cut: nothing is synced.
//
// The first block of the lvstore's disk says which one it is.
type disk struct {
	dir     string // "": nowhere
	journal *os.File
	files   map[string]*os.File
}

// mark is at the front of a disk that has an lvstore.
const (
	mark      = "rootgraft/rebuild simulated lvstore "
	markBlock = 4096
)

const journalName = "journal"

// record is a line of the journal.
type record struct {
	Store   *storeRecord  `json:"store,omitempty"`
	Lvols   []lvolRecord  `json:"lvols,omitempty"`
	Gone    []string      `json:"gone,omitempty"` // UUIDs
	Cluster *clusterGiven `json:"cluster,omitempty"`
}

type storeRecord struct {
	Name        string `json:"name"`
	ClusterSize uint64 `json:"clusterSize"`
	Clusters    uint64 `json:"clusters"`
	Pages       uint64 `json:"pages"`
}

type lvolRecord struct {
	UUID     string            `json:"uuid"`
	Name     string            `json:"name"`
	Created  string            `json:"created"`
	Parent   string            `json:"parent,omitempty"`
	Loop     string            `json:"loop,omitempty"`
	External string            `json:"external,omitempty"`
	Size     uint64            `json:"size"`
	ReadOnly bool              `json:"readOnly,omitempty"`
	Thin     bool              `json:"thin,omitempty"`
	Data     string            `json:"data"`
	Own      []uint64          `json:"own,omitempty"`
	Xattrs   map[string]string `json:"xattrs,omitempty"`
	Checksum *uint64           `json:"checksum,omitempty"`
	Misfit   *misfit           `json:"misfit,omitempty"`
}

// clusterGiven: the lvol owns one more.
type clusterGiven struct {
	Lvol string `json:"lvol"`
	At   uint64 `json:"at"`
}

func newDisk(state, uuid string) *disk {
	d := &disk{files: make(map[string]*os.File)}
	if state != "" {
		d.dir = filepath.Join(state, uuid)
	}
	return d
}

func (d *disk) kept() bool { return d.dir != "" }

// create makes the directory, without what an earlier lvstore may have left.
func (d *disk) create() error {
	if !d.kept() {
		return nil
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	return d.open()
}

func (d *disk) open() (err error) {
	d.journal, err = os.OpenFile(filepath.Join(d.dir, journalName), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	return err
}

// append writes one line at once.
func (d *disk) append(r record) error {
	if d.journal == nil {
		return nil
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = d.journal.Write(append(line, '\n'))
	return err
}

// file is the one that the clusters of an lvol are in.
func (d *disk) file(name string) (*os.File, error) {
	if f, open := d.files[name]; open {
		return f, nil
	}
	f, err := os.OpenFile(filepath.Join(d.dir, name+".data"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		d.files[name] = f
	}
	return f, err
}

// erase removes a file that no lvol has any more.
func (d *disk) erase(name string) {
	if !d.kept() {
		return
	}
	if f, open := d.files[name]; open {
		_ = f.Close()
		delete(d.files, name)
	}
	_ = os.Remove(filepath.Join(d.dir, name+".data")) // read does it otherwise
}

func (d *disk) close() {
	if d.journal != nil {
		_ = d.journal.Close()
		d.journal = nil
	}
	for name, f := range d.files {
		_ = f.Close()
		delete(d.files, name)
	}
}

// read plays the journal. A last line that is not whole was never answered: it is
// cut off.
func (d *disk) read() (store storeRecord, lvols []lvolRecord, err error) {
	if err := d.open(); err != nil {
		return store, nil, err
	}
	places := make(map[string]int)
	gone := make(map[string]bool)
	lines, whole := bufio.NewReader(d.journal), int64(0)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if err := d.journal.Truncate(whole); err != nil {
				return store, nil, err
			}
			break
		}
		if err != nil {
			return store, nil, err
		}
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			return store, nil, fmt.Errorf("%s at byte %d: %w", d.journal.Name(), whole, err)
		}
		whole += int64(len(line))
		if r.Store != nil {
			store = *r.Store
		}
		for _, l := range r.Lvols {
			if place, known := places[l.UUID]; known {
				lvols[place] = l
			} else {
				places[l.UUID] = len(lvols)
				lvols = append(lvols, l)
			}
		}
		for _, uuid := range r.Gone {
			gone[uuid] = true
		}
		if c := r.Cluster; c != nil {
			place, known := places[c.Lvol]
			if !known {
				return store, nil, fmt.Errorf("%s at byte %d: a cluster of %s, which is not there", d.journal.Name(), whole, c.Lvol)
			}
			lvols[place].Own = append(lvols[place].Own, c.At)
		}
	}
	var left []lvolRecord
	for _, l := range lvols {
		if gone[l.UUID] {
			d.erase(l.Data)
		} else {
			left = append(left, l)
		}
	}
	return store, left, nil
}

// markOf is the UUID of the lvstore that a disk has, "" for none.
func markOf(b *bdev) string {
	block := make([]byte, markBlock)
	if b.size() < markBlock || b.read(block, 0) != nil {
		return ""
	}
	rest, ok := bytes.CutPrefix(block, []byte(mark))
	if !ok || len(rest) < 36 || !isUUID(string(rest[:36])) {
		return ""
	}
	return string(rest[:36])
}

// setMark says on a disk which lvstore it has; "": none.
func setMark(b *bdev, uuid string) error {
	block := make([]byte, markBlock)
	if uuid != "" {
		copy(block, mark+uuid)
	}
	return b.write(block, 0)
}
