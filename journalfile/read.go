package journalfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rootgraft/rebuild"
)

// Read returns the entries of a journal, oldest first. Another process may have it open.
// Unreadable lines are skipped. The error is rebuild.ErrInvalid if the file is not a
// journal: none of its lines is an entry.
func Read(path string) ([]rebuild.Entry, error) {
	read, err := ReadAll(path)
	return read.Entries, err
}

// Contents is what ReadAll finds in a journal.
type Contents struct {
	Entries    []rebuild.Entry
	Unreadable int           // number of lines that were skipped
	Running    []rebuild.Run // without an end; the process that has the journal open runs them
	Killed     []rebuild.Run // without an end, and no process has the journal open
}

// ReadAll is Read that also tells whether runs without an end are running or were killed.
func ReadAll(path string) (Contents, error) {
	read, err := readAll(path)
	if err != nil {
		return Contents{}, fmt.Errorf("read journal %s: %w", path, err)
	}
	return read, nil
}

func readAll(path string) (Contents, error) {
	file, read, err := readOnce(path)
	if err != nil {
		return Contents{}, err
	}
	defer func() { _ = file.Close() }()
	begun := unended(read.Entries)
	if len(begun) == 0 {
		return read, nil
	}
	open, err := isOpen(file)
	if err != nil {
		return Contents{}, err
	}
	// Since the first read runs may have ended or begun, and the file may have been
	// rewritten.
	again, read, err := readOnce(path)
	if err != nil {
		return Contents{}, err
	}
	defer func() { _ = again.Close() }()
	open = open || !isSame(file, again)
	for run := range unended(read.Entries) {
		if open || !begun[run] {
			read.Running = append(read.Running, run)
		} else {
			read.Killed = append(read.Killed, run)
		}
	}
	return read, nil
}

// isSame is false also if it is unknown.
func isSame(a, b *os.File) bool {
	one, err := a.Stat()
	if err != nil {
		return false
	}
	other, err := b.Stat()
	return err == nil && os.SameFile(one, other)
}

func readOnce(path string) (file *os.File, read Contents, err error) {
	if file, err = os.Open(filepath.Clean(path)); err != nil {
		return nil, read, err
	}
	f, err := each(file, func(l line) { read.Entries = append(read.Entries, l.entry()) })
	if err == nil && f.spoiled > 0 && len(read.Entries) == 0 {
		err = errNoJournal
	}
	if err != nil {
		_ = file.Close()
		return nil, read, err
	}
	read.Unreadable = f.spoiled
	return file, read, nil
}

// unended are the runs without an end.
func unended(entries []rebuild.Entry) map[rebuild.Run]bool {
	runs := make(map[rebuild.Run]bool)
	for _, e := range entries {
		switch {
		case e.Began != nil:
			runs[e.Run] = true
		case e.Ended != nil:
			delete(runs, e.Run)
		}
	}
	return runs
}

// found describes a file that was read.
type found struct {
	size    int64
	spoiled int  // unreadable lines, without a torn last one
	torn    bool // the last line has no newline
}

// probed is the number of bytes that are checked for entries: a file that was named by
// mistake may be large.
const probed = 1 << 20

var errNoJournal = fmt.Errorf("not a journal of rebuilds (none of its lines is an entry); expected a journal or a new file: %w", rebuild.ErrInvalid)

// each visits all intact lines. A file that is not a journal is an error.
func each(from *os.File, visit func(line)) (f found, err error) {
	if info, err := from.Stat(); err != nil || !info.Mode().IsRegular() {
		return f, errors.Join(err, fmt.Errorf("expected a regular file: %w", rebuild.ErrInvalid))
	}
	reader := bufio.NewReaderSize(from, probed)
	head, err := reader.Peek(probed)
	if err != nil && !errors.Is(err, io.EOF) {
		return f, err
	}
	if !isJournal(head) {
		return f, errNoJournal
	}
	for {
		text, err := reader.ReadBytes('\n')
		f.size += int64(len(text))
		body, ended := bytes.CutSuffix(text, []byte{'\n'})
		if len(body) > 0 {
			f.torn = !ended
			if l, ok := decodeLine(body); ok {
				visit(l)
			} else if ended {
				f.spoiled++
			}
		}
		if errors.Is(err, io.EOF) {
			return f, nil
		}
		if err != nil {
			return f, err
		}
	}
}

// isJournal reports whether a file with that beginning is a journal. An empty file is
// one. The first line may be torn or damaged.
func isJournal(head []byte) bool {
	if len(head) == 0 || beginsLine(head) {
		return true
	}
	for text := range bytes.Lines(head) {
		if _, ok := decodeLine(bytes.TrimSuffix(text, []byte{'\n'})); ok {
			return true
		}
	}
	return false
}
