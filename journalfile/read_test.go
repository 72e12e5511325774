package journalfile_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/journalfile"
)

// longhorn/longhorn#4846, #413: a wrong path may be somebody else's file.
func TestField_4846_OtherFileIsLeftAsItIs(t *testing.T) {
	for name, text := range map[string]string{
		"notes":             "buy milk\n",
		"without an end":    "buy milk",
		"one letter":        "b",
		"hex":               "0badcafe",
		"a line too short":  "0badcafe {\"at\"",
		"blank lines":       "\n\n\n",
		"a binary file":     strings.Repeat("\x00\xff\n", 1000),
		"JSON":              `{"at":"2026-01-01T00:00:00Z","replica":"vol-1-r-4e5f6a7b"}` + "\n",
		"one endless line":  strings.Repeat("x", 3<<20),
		"a wrong checksum":  `0badcaf {"at":"2026-01-01T00:00:00Z"}` + "\n",
		"many wrong lines":  strings.Repeat("buy milk\n", 1<<18),
		"a disk image":      strings.Repeat("\x00", 2<<20),
		"a log of JSON":     strings.Repeat(`2026-01-01 {"at":"now"}`+"\n", 10),
		"hex and something": "0badcafe {\"on\":\"2026\"}\n",
	} {
		t.Run(name, func(t *testing.T) {
			file := path(t)
			require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			_, err := journalfile.Open(journalfile.Config{Path: file})
			require.ErrorIs(t, err, rebuild.ErrInvalid)
			require.ErrorContains(t, err, "not a journal")
			_, err = journalfile.Read(file)
			require.ErrorIs(t, err, rebuild.ErrInvalid)
			require.ErrorContains(t, err, file)
			left, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, text, string(left))
		})
	}
	_, err := journalfile.Read(t.TempDir())
	require.ErrorIs(t, err, rebuild.ErrInvalid)
	_, err = journalfile.Read(filepath.Join(t.TempDir(), "nope"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A journal with damaged lines takes new entries and is still recognized.
func TestDamagedJournalStillOpens(t *testing.T) {
	file := path(t)
	f := open(t, journalfile.Config{Path: file})
	appendAll(t, f, began(1))
	require.NoError(t, f.Close())
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	spoiled := strings.Replace(string(text), "disk-1", "disk-2", 1)
	for _, left := range []string{spoiled, spoiled[:len(spoiled)/2], string(text[:30])} {
		require.NoError(t, os.WriteFile(file, []byte(left), 0o600))
		_, err := journalfile.Read(file)
		if strings.HasSuffix(left, "\n") {
			require.ErrorIs(t, err, rebuild.ErrInvalid, "nothing can be told of it")
		} else {
			require.NoError(t, err, "its first line was torn")
		}
		f, err := journalfile.Open(journalfile.Config{Path: file})
		require.NoError(t, err)
		appendAll(t, f, ended(3))
		require.NoError(t, f.Close())
		read, err := journalfile.ReadAll(file)
		require.NoError(t, err)
		require.Equal(t, []rebuild.Entry{ended(3)}, read.Entries)
		require.Equal(t, 1, read.Unreadable)
	}
	empty := path(t)
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	read, err := journalfile.ReadAll(empty)
	require.NoError(t, err)
	require.Equal(t, journalfile.Contents{}, read)
}

// A killed process cannot add the end. Its lock shows whether it is alive.
func TestRunWithoutEndIsRunningOrKilled(t *testing.T) {
	file := path(t)
	f := open(t, journalfile.Config{Path: file})
	appendAll(t, f, began(1), ended(1), began(2), sealed(3, "s1"))
	read, err := journalfile.ReadAll(file)
	require.NoError(t, err)
	require.Equal(t, []rebuild.Run{began(2).Run}, read.Running)
	require.Empty(t, read.Killed)

	require.NoError(t, f.Close()) // as its end would
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	read, err = journalfile.ReadAll(file)
	require.NoError(t, err)
	require.Equal(t, []rebuild.Run{began(2).Run}, read.Killed)
	require.Empty(t, read.Running)
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, before, after, "reading changes nothing")

	f = open(t, journalfile.Config{Path: file})
	appendAll(t, f, began(4))
	read, err = journalfile.ReadAll(file)
	require.NoError(t, err)
	require.Equal(t, []rebuild.Run{began(4).Run}, read.Running, "of the process that has it open now")
	require.Empty(t, read.Killed, "its end is there")
	end := read.Entries[len(read.Entries)-2]
	require.Equal(t, began(2).Run, end.Run)
	require.Equal(t, began(2).Store, end.Store)
	require.Equal(t, &rebuild.Ended{Outcome: rebuild.OutcomeKilled}, end.Ended)
	require.NoError(t, f.Close())
	f = open(t, journalfile.Config{Path: file})
	appendAll(t, f, ended(4))
	read, err = journalfile.ReadAll(file)
	require.NoError(t, err)
	require.Empty(t, append(read.Running, read.Killed...))
}

// The rewritten file is still locked by its process.
func TestRewriteKeepsBeginningOfLiveRuns(t *testing.T) {
	file := path(t)
	f := open(t, journalfile.Config{Path: file, Bytes: 1, Runs: 5})
	appendAll(t, f, began(1000))
	for n := range 50 {
		appendAll(t, f, began(n), ended(n))
	}
	read, err := journalfile.ReadAll(file)
	require.NoError(t, err)
	require.Equal(t, began(1000), read.Entries[0])
	require.Equal(t, []rebuild.Run{began(1000).Run}, read.Running)
	require.Equal(t, []rebuild.Entry{began(49), ended(49)}, read.Entries[len(read.Entries)-2:])
	require.Less(t, len(read.Entries), 50)
}

// A reader checks whether the journal is open, which must not block an Open.
func TestReadersDoNotBlockOpen(t *testing.T) {
	file := path(t)
	f := open(t, journalfile.Config{Path: file})
	appendAll(t, f, began(1))
	require.NoError(t, f.Close())
	f = open(t, journalfile.Config{Path: file})
	appendAll(t, f, began(2))
	require.NoError(t, f.Close())
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	const readers = 4
	for range readers {
		go func() {
			for ctx.Err() == nil {
				if _, err := journalfile.ReadAll(file); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for n := range 200 {
		f, err := journalfile.Open(journalfile.Config{Path: file})
		require.NoError(t, err, fmt.Sprint("time ", n))
		require.NoError(t, f.Close())
		require.NoError(t, os.WriteFile(file, text, 0o600)) // one run has no end again
	}
	cancel()
	for range readers {
		require.NoError(t, <-done)
	}
}
