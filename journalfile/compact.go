package journalfile

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// compact rewrites the file with what is worth keeping. It fills a new file beside it and
// renames that, so that a crash leaves either the old or the new one.
func (f *File) compact() error {
	f.forgetOldRuns()
	f.forgetOldSealings()
	fresh, err := os.CreateTemp(filepath.Dir(f.config.Path), filepath.Base(f.config.Path)+".new-*")
	if err != nil {
		return fmt.Errorf("rewrite: %w", err)
	}
	size, err := f.fill(fresh)
	if err == nil {
		err = lock(fresh)
	}
	if err == nil {
		err = os.Rename(fresh.Name(), f.config.Path)
	}
	if err != nil {
		return fmt.Errorf("rewrite: %w", errors.Join(err, fresh.Close(), os.Remove(fresh.Name())))
	}
	old := f.file
	f.file, f.size, f.live, f.broken = fresh, size, size, false
	return errors.Join(old.Close(), syncDir(filepath.Dir(f.config.Path)))
}

// fill writes the sealings first: a run seals before it ends.
func (f *File) fill(fresh *os.File) (size int64, err error) {
	out := bufio.NewWriter(fresh)
	add := func(l line) error {
		text, err := l.encode()
		if err != nil {
			return err
		}
		size += int64(len(text))
		_, err = out.Write(text)
		return err
	}
	for _, of := range f.snapshots() {
		for _, one := range f.sealing[of].of {
			if err := add(line{Store: of.store, Replica: of.replica, Sealed: &one}); err != nil {
				return size, err
			}
		}
	}
	for _, r := range f.runs {
		for _, l := range r.lines() {
			if err := add(l); err != nil {
				return size, err
			}
		}
	}
	if err := out.Flush(); err != nil {
		return size, err
	}
	return size, fresh.Sync()
}

// forgetOldSealings keeps the sealings of the newest Config.Sealings snapshots.
func (f *File) forgetOldSealings() {
	if len(f.sealing) <= f.config.Sealings {
		return
	}
	all := f.snapshots()
	for _, of := range all[:len(all)-f.config.Sealings] {
		delete(f.sealing, of)
	}
}

// snapshots are those with a sealing, the oldest sealing first.
func (f *File) snapshots() []snapshot {
	return slices.SortedFunc(maps.Keys(f.sealing), func(a, b snapshot) int { return cmp.Compare(f.sealing[a].n, f.sealing[b].n) })
}

func syncDir(path string) error {
	dir, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
