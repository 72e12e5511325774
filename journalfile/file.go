package journalfile

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild"
)

// The default bounds of a journal.
const (
	DefaultBytes    = 16 << 20
	DefaultRuns     = 1000
	DefaultSealings = 200_000 // of about 300 bytes each
)

// Config says where a journal is and how large it may become.
type Config struct {
	Path     string
	Bytes    int64       // a smaller file is never rewritten; 0: DefaultBytes
	Runs     int         // number of runs, the newest, that a rewrite keeps; 0: DefaultRuns
	Sealings int         // number of snapshots, the newest, whose sealings a rewrite keeps; 0: DefaultSealings
	Logger   *zap.Logger // for unreadable lines; nil: none
}

// File is an open journal. One process has it open at a time.
type File struct {
	config Config

	mu      sync.Mutex
	file    *os.File
	size    int64
	live    int64 // size after the last rewrite
	broken  bool  // the last write may have ended in the middle of a line
	sealing map[snapshot]noted
	noted   uint64 // sealings so far
	runs    []run  // oldest first
}

// run is a rebuild: its beginning and its end; nil: the file does not have it.
type run struct{ began, ended *line }

// lines are its lines in the file.
func (r run) lines() (lines []line) {
	for _, l := range []*line{r.began, r.ended} {
		if l != nil {
			lines = append(lines, *l)
		}
	}
	return lines
}

// noted are the sealings of one copy, one per source, and the number of the newest.
type noted struct {
	of []sealed
	n  uint64
}

// snapshot is a key of sealings: the newest one of each is kept.
type snapshot struct{ store, replica, name string }

var _ rebuild.Journal = (*File)(nil)

// Open opens a journal, and creates it if the file does not exist. The error is
// rebuild.ErrBusy while another process has the journal open, and rebuild.ErrInvalid if
// the file is not a journal; such a file is not changed. Runs without an end were killed
// with their process: Open adds an end that says so.
func Open(config Config) (*File, error) {
	config.Bytes = cmp.Or(config.Bytes, DefaultBytes)
	config.Runs = cmp.Or(config.Runs, DefaultRuns)
	config.Sealings = cmp.Or(config.Sealings, DefaultSealings)
	if config.Logger == nil {
		config.Logger = zap.NewNop()
	}
	f := &File{config: config, sealing: make(map[snapshot]noted)}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("open journal %s: %w", config.Path, err)
	}
	return f, nil
}

func (f *File) open() error {
	info, err := os.Stat(f.config.Path)
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("expected a regular file: %w", rebuild.ErrInvalid)
	}
	f.file, err = os.OpenFile(f.config.Path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	err = lock(f.file)
	if err == nil {
		err = f.requireCurrent()
	}
	if err == nil {
		err = f.load()
	}
	if err == nil {
		err = f.endKilled()
	}
	if err != nil {
		_ = f.file.Close()
	}
	return err
}

// requireCurrent returns an error if another process has replaced the file, by a
// rewrite, since it was opened: the lock of the old file is free then.
func (f *File) requireCurrent() error {
	named, err := os.Stat(f.config.Path)
	if err != nil {
		return err
	}
	opened, err := f.file.Stat()
	if err == nil && !os.SameFile(named, opened) {
		err = errOpenElsewhere
	}
	return err
}

var errOpenElsewhere = fmt.Errorf("another process has it open: %w", rebuild.ErrBusy)

// load reads the file. A crash may have torn the last line.
func (f *File) load() error {
	found, err := each(f.file, f.note)
	if err != nil {
		return err
	}
	if found.spoiled > 0 {
		f.config.Logger.Warn("skipped unreadable lines of the journal", zap.String("journal", f.config.Path), zap.Int("lines", found.spoiled))
	}
	f.size, f.live, f.broken = found.size, 0, found.torn
	return nil
}

// endKilled adds the end of runs that have none: the process that had the journal open
// is gone.
func (f *File) endKilled() error {
	for i := range f.runs {
		if f.runs[i].ended != nil {
			continue
		}
		end := *f.runs[i].began
		end.At, end.Began, end.Ended = time.Now().UTC(), nil, &ended{Outcome: rebuild.OutcomeKilled}
		text, err := end.encode()
		if err == nil {
			err = f.write(text, false)
		}
		if err != nil {
			return err
		}
		f.runs[i].ended = &end
	}
	return nil
}

// note keeps what Sealings and a rewrite need.
func (f *File) note(l line) {
	if l.Sealed != nil {
		f.noted++
		of := snapshot{l.Store, l.Replica, l.Sealed.Snapshot}
		f.sealing[of] = noted{append(f.sealing[of].others(*l.Sealed), *l.Sealed), f.noted}
	}
	switch {
	case l.Began != nil:
		f.runs = append(f.runs, run{began: &l})
	case l.Ended == nil:
		return
	default:
		if i := slices.IndexFunc(f.runs, func(r run) bool { return r.began != nil && l.isOfRun(*r.began) }); i >= 0 {
			f.runs[i].ended = &l
		} else {
			f.runs = append(f.runs, run{ended: &l})
		}
	}
	if len(f.runs) >= 2*f.config.Runs {
		f.forgetOldRuns()
	}
}

// forgetOldRuns keeps the newest Config.Runs runs, and those without an end.
func (f *File) forgetOldRuns() {
	old := len(f.runs) - f.config.Runs
	if old <= 0 {
		return
	}
	kept := make([]run, 0, f.config.Runs)
	for i, r := range f.runs {
		if i >= old || r.ended == nil {
			kept = append(kept, r)
		}
	}
	f.runs = kept
}

// others are the sealings of the same copy from other sources: a new one does not
// replace them.
func (n noted) others(fresh sealed) []sealed {
	return slices.DeleteFunc(slices.Clone(n.of), func(s sealed) bool { return s.Copy != fresh.Copy || s.Source == fresh.Source })
}

// Append implements rebuild.Journal.
func (f *File) Append(_ context.Context, e rebuild.Entry) error {
	if e.Store == "" || e.Run.Replica == "" {
		return f.failed(fmt.Errorf("entry without store or replica: %w", rebuild.ErrInvalid))
	}
	l := newLine(e)
	text, err := l.encode()
	if err != nil {
		return f.failed(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.write(text, l.Ended != nil); err != nil {
		return f.failed(err)
	}
	f.note(l)
	if f.size > f.config.Bytes && f.size > 2*f.live {
		if err := f.compact(); err != nil {
			// The entry is written. The next attempt follows when the file has doubled.
			f.live = f.size
			f.config.Logger.Warn("the journal cannot be rewritten, and grows", zap.Error(f.failed(err)))
		}
	}
	return nil
}

func (f *File) write(text []byte, sync bool) error {
	if f.file == nil {
		return os.ErrClosed
	}
	if f.broken {
		text = append([]byte{'\n'}, text...)
	}
	f.broken = true
	n, err := f.file.Write(text)
	f.size += int64(n)
	if err != nil {
		return err
	}
	f.broken = false
	if sync {
		return f.file.Sync()
	}
	return nil
}

func (f *File) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("journal %s: %w", f.config.Path, err)
}

// Sealings implements rebuild.Journal.
func (f *File) Sealings(_ context.Context, store, replica string) ([]rebuild.Sealing, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []rebuild.Sealing
	for of, s := range f.sealing {
		if of.store == store && of.replica == replica {
			for _, one := range s.of {
				found = append(found, one.sealing())
			}
		}
	}
	slices.SortFunc(found, func(a, b rebuild.Sealing) int {
		return cmp.Or(strings.Compare(a.Copy, b.Copy), strings.Compare(a.Source, b.Source))
	})
	return found, nil
}

// Close closes the file, so that another process can open the journal.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return f.failed(err)
}
