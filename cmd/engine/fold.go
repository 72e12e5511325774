package main

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// lineWidth is how many columns a line has on a terminal, and 0 elsewhere:
// what goes into a file is read by grep, too, and stays on its line.
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
		return 80 // a terminal that does not know, a serial line for one
	}
	return width
}

// fold breaks lines that are wider than width between words. What is broken
// off stands a little further to the right than its line begins.
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
				break
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
