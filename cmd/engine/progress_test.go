package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
)

// copying is ten seconds of a copy, with an event every tenth of a second.
func copying(p *progressLine) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 101 {
		p.update(rebuild.Event{
			Kind: rebuild.EventCopying, At: began.Add(time.Duration(i) * 100 * time.Millisecond),
			BytesDone: uint64(i) << 20, BytesTotal: 100 << 20, Rate: 10 << 20, Left: time.Duration(100-i) * 100 * time.Millisecond,
		})
	}
}

func TestProgressOnTerminalIsOneLine(t *testing.T) {
	var out bytes.Buffer
	p := &progressLine{out: &out, terminal: true}
	copying(p)
	require.NotContains(t, out.String(), "\n")
	frames := strings.Split(strings.TrimPrefix(out.String(), "\r\x1b[K"), "\r\x1b[K")
	require.Len(t, frames, 100, "ten a second")
	require.Equal(t, "  [###############...............] 50 MiB of 100 MiB, 10 MiB/s, 5s left", frames[49])
	require.Equal(t, "  [##############################] 100 MiB of 100 MiB, 10 MiB/s, 0s left", frames[99])
	for _, frame := range frames {
		require.Less(t, len(frame), 80)
	}

	out.Reset()
	p.clear()
	require.Equal(t, "\r\x1b[K", out.String())
	p.clear()
	require.Equal(t, "\r\x1b[K", out.String(), "what is cleared is not cleared again")
}

func TestProgressInLogIsLineEveryFewSeconds(t *testing.T) {
	var out bytes.Buffer
	p := newProgressLine(&out)
	copying(p)
	p.clear()
	require.Equal(t, "  50 MiB of 100 MiB, 10 MiB/s, 5s left\n  100 MiB of 100 MiB, 10 MiB/s, 0s left\n", out.String())
}

func TestFileIsNoTerminal(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/log")
	require.NoError(t, err)
	defer file.Close()
	require.Zero(t, lineWidth(file))
	require.False(t, newProgressLine(file).terminal)
}

func TestBarOfZeroBytesIsFull(t *testing.T) {
	require.Equal(t, "["+strings.Repeat("#", 30)+"]", bar(0, 0, 30))
}

func TestBytesText(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 1 << 30: "1 GiB", 64 << 40: "64 TiB"} {
		require.Equal(t, want, bytesText(n))
	}
}

func TestFoldBreaksLinesBetweenWords(t *testing.T) {
	const text = "  keep  snap1  proven identical: same size\n  copy  snap2\n"
	require.Equal(t, text, fold(text, 0), "what goes into a file stays on its line")
	require.Equal(t, "  keep  snap1  proven\n      identical: same size\n  copy  snap2\n", fold(text, 26))
	require.Equal(t, "  "+strings.Repeat("x", 50)+"\n", fold("  "+strings.Repeat("x", 50)+"\n", 26), "a word is not broken")
	require.Equal(t, "  "+strings.Repeat("x", 50)+"\n      and what\n      follows\n", fold("  "+strings.Repeat("x", 50)+" and what follows\n", 15))
	require.Equal(t, "└── é é\n", fold("└── é é\n", 7), "columns count, not bytes")
	require.Empty(t, fold("", 26))
	require.Equal(t, "no end of line", fold("no end of line", 80))
}

// A line as wide as the terminal wraps, and the next one would be drawn below it.
func TestProgressLineFitsTerminal(t *testing.T) {
	e := rebuild.Event{Kind: rebuild.EventWriting, BytesDone: 1023<<30 - 1, BytesTotal: 1 << 40, Rate: 1023.5 * (1 << 20), Left: 100*time.Hour + 59*time.Second}
	for width := 1; width < 200; width++ {
		line := terminalLine(e, width)
		require.Less(t, len(line), width)
		if width > len(progressText(e))+2 {
			require.Contains(t, line, progressText(e), "%d columns", width)
		}
	}
	require.Equal(t, "  [#############################.] written 1023.0 GiB of 1 TiB, 1023.5 MiB/s, 100h0m59s left", terminalLine(e, 120))
	require.Equal(t, "  [################.] written 1023.0 GiB of 1 TiB, 1023.5 MiB/s, 100h0m59s left", terminalLine(e, 80))
}

// A failure that is repeated is printed once, though others come in between. The heading comes with
// the first line.
func TestPrinterTellsARetryOnce(t *testing.T) {
	var out bytes.Buffer
	s := newPrinter(&out)
	plan := rebuild.Plan{Steps: []rebuild.Step{{Action: rebuild.ActionCopy, Snapshot: "s1"}}, Operations: []rebuild.Operation{{}}}
	s.Observe(rebuild.Event{Kind: rebuild.EventPlanned, Plan: &plan})
	require.True(t, strings.HasPrefix(out.String(), "\nPlan\n"))
	require.NotContains(t, out.String(), "Rebuild")
	out.Reset()
	for range 3 {
		for _, of := range []string{"s1", "s2"} {
			s.Observe(rebuild.Event{Kind: rebuild.EventRetry, Verb: rebuild.VerbCopy, Snapshot: of, Text: "the host is down"})
		}
	}
	s.Observe(rebuild.Event{Kind: rebuild.EventRetry, Verb: rebuild.VerbCopy, Snapshot: "s1", Text: "torn"})
	require.Equal(t, "\nRebuild\n  retry    copy s1: the host is down\n  retry    copy s2: the host is down\n  retry    copy s1: torn\n", out.String())
}
