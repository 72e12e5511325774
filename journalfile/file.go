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

// The bounds of a journal that says nothing of its own.
const (
	DefaultBytes    = 16 << 20
	DefaultRuns     = 1000
	DefaultSealings = 200_000 // of about 300 bytes each
)

// Config says where a journal is and how large it may become.
type Config struct {
	Path     string
	Bytes    int64       // below that it is never written anew; 0: DefaultBytes
	Runs     int         // how many runs, the newest ones, are kept when it is; 0: DefaultRuns
	Sealings int         // and how many sealings, the newest ones; 0: DefaultSealings
	Logger   *zap.Logger // told of lines that are not whole; nil: nobody
}

// File is a journal in a file, open for one process.
type File struct {
	config Config

	mu      sync.Mutex
	file    *os.File
	size    int64
	live    int64 // size after it was last written anew
	broken  bool  // the last write may have ended in the middle of a line
	sealing map[snapshot]noted
	noted   uint64 // sealings so far
	runs    []run  // the oldest first
}

// run is a rebuild: how it began and how it ended, as far as the file has it.
type run struct{ began, ended *line }

// lines are what the file has of it.
func (r run) lines() (lines []line) {
	for _, l := range []*line{r.began, r.ended} {
		if l != nil {
			lines = append(lines, *l)
		}
	}
	return lines
}

// noted are the sealings of one copy, one for each source that it is known to be
// the copy of, and the how many-th the newest was.
type noted struct {
	of []sealed
	n  uint64
}

// snapshot is whose newest sealing is kept.
type snapshot struct{ store, replica, name string }

var _ rebuild.Journal = (*File)(nil)

// Open opens the journal, and makes an empty one where there is none. While it
// is open no other process can open it: its error is rebuild.ErrBusy then. A file
// that is not a journal is left as it is; the error is rebuild.ErrInvalid. No other
// process has the journal open, so a run that began and did not end was killed: Open
// adds that as its end.
func Open(config Config) (*File, error) {
	if config.Bytes == 0 {
		config.Bytes = DefaultBytes
	}
	if config.Runs == 0 {
		config.Runs = DefaultRuns
	}
	if config.Sealings == 0 {
		config.Sealings = DefaultSealings
	}
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
		return fmt.Errorf("expected a file: %w", rebuild.ErrInvalid)
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

// requireCurrent: a file that another process has just written anew is not the
// one that was opened a moment before, though that one's lock is free now.
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

// load reads what is there. A last line without an end was torn by a crash.
func (f *File) load() error {
	found, err := each(f.file, f.note)
	if err != nil {
		return err
	}
	if found.spoiled > 0 {
		f.config.Logger.Warn("lines of the journal are not whole, and passed over", zap.String("journal", f.config.Path), zap.Int("lines", found.spoiled))
	}
	f.size, f.live, f.broken = found.size, 0, found.torn
	return nil
}

// endKilled adds the end of runs that have none: whoever had the journal open
// before is gone.
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

// note remembers what Sealings and a file that is written anew need.
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

// forgetOldRuns keeps as many as there may be, the newest, and those that have
// not ended.
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

// others are those that stay beside a new one: of the same copy, from other
// sources.
func (n noted) others(fresh sealed) []sealed {
	return slices.DeleteFunc(slices.Clone(n.of), func(s sealed) bool { return s.Copy != fresh.Copy || s.Source == fresh.Source })
}

// Append implements rebuild.Journal.
func (f *File) Append(_ context.Context, e rebuild.Entry) error {
	if e.Store == "" || e.Run.Replica == "" {
		return f.failed(fmt.Errorf("an entry of no replica: %w", rebuild.ErrInvalid))
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
			// The entry is there. Another try comes when the file has doubled.
			f.live = f.size
			f.config.Logger.Warn("the journal grows", zap.Error(f.failed(err)))
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

// Close gives the file free.
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
