package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rootgraft/rebuild"
)

// progressLine shows the progress of the copies: on a terminal as one line that is
// redrawn, elsewhere as a line every few seconds.
type progressLine struct {
	out      io.Writer
	terminal bool
	last     time.Time
	drawn    bool
}

const (
	redrawEvery = 100 * time.Millisecond
	lineEvery   = 5 * time.Second
)

func newProgressLine(out io.Writer) *progressLine {
	return &progressLine{out: out, terminal: lineWidth(out) > 0}
}

func (p *progressLine) update(e rebuild.Event) {
	every := lineEvery
	if p.terminal {
		every = redrawEvery
	}
	if p.last.IsZero() {
		p.last = e.At
	}
	if e.At.Sub(p.last) < every {
		return
	}
	p.last = e.At
	if !p.terminal {
		fmt.Fprintf(p.out, "  %s\n", progressText(e))
		return
	}
	fmt.Fprint(p.out, "\r\033[K"+terminalLine(e, cmp.Or(lineWidth(p.out), 80)))
	p.drawn = true
}

// clear removes the line from the terminal.
func (p *progressLine) clear() {
	if p.drawn {
		fmt.Fprint(p.out, "\r\033[K")
		p.drawn = false
	}
}

func progressText(e rebuild.Event) string {
	what := ""
	switch e.Kind {
	case rebuild.EventReading:
		what = "read "
	case rebuild.EventWriting:
		what = "written "
	}
	text := what + fmt.Sprintf("%s of %s", bytesText(e.BytesDone), bytesText(e.BytesTotal))
	if e.Rate > 0 {
		text += fmt.Sprintf(", %s/s, %s left", bytesText(uint64(e.Rate)), e.Left.Round(time.Second))
	}
	return text
}

// terminalLine is narrower than the terminal: a line that wraps cannot be redrawn. The
// bar takes the space that the text leaves.
func terminalLine(e rebuild.Event, width int) string {
	const longest, shortest = 30, 5
	text := "  " + progressText(e)
	if left := width - 1 - len(text) - len(" []"); left >= shortest {
		return "  " + bar(e.BytesDone, e.BytesTotal, min(left, longest)) + text[1:]
	}
	return text[:min(len(text), width-1)]
}

func bar(done, total uint64, width int) string {
	filled := width
	if total > 0 {
		filled = int(float64(done) / float64(total) * float64(width))
	}
	return "[" + strings.Repeat("#", filled) + strings.Repeat(".", width-filled) + "]"
}

// Observe implements rebuild.Observer, for runs of which only the progress is shown.
func (p *progressLine) Observe(e rebuild.Event) { p.update(e) }
