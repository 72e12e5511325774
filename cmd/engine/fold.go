package main

import (
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"
)

// lineWidth is the width of the terminal in columns, and 0 if out is no terminal: lines
// in a file are not folded, so that grep finds them.
func lineWidth(out io.Writer) int {
	file, isFile := out.(*os.File)
	if !isFile {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	switch {
	case err != nil:
		return 0
	case width <= 0:
		return 80 // unknown to the terminal, such as a serial line
	}
	return width
}

// fold breaks lines that are wider than width, between words. Continuation lines are
// indented by 4 more columns.
func fold(text string, width int) string {
	if width == 0 {
		return text
	}
	var folded strings.Builder
	for line := range strings.Lines(text) {
		begin := len(line) - len(strings.TrimLeft(line, " ")) + 4
		for len([]rune(strings.TrimRight(line, "\n"))) > width {
			runes := []rune(line)
			at := lastSpace(runes[:width+1])
			if at <= begin { // a word that is longer than the line
				if at = slices.Index(runes[width:], ' ') + width; at < width {
					break
				}
			}
			folded.WriteString(strings.TrimRight(string(runes[:at]), " ") + "\n")
			line = strings.Repeat(" ", begin) + string(runes[at+1:])
		}
		folded.WriteString(line)
	}
	return folded.String()
}

func lastSpace(runes []rune) int {
	for i := len(runes) - 1; i >= 0; i-- {
		if runes[i] == ' ' {
			return i
		}
	}
	return -1
}
