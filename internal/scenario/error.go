package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error says what is wrong with a scenario. Its text is one line.
type Error struct {
	File    string // as it was given; "" for a Scenario that no file describes
	Line    int    // from 1; 0: the file as a whole
	Field   string // such as source.snapshots[1].writes[0].seed; "": the file as a whole
	Problem string // what was expected, and what was found
}

// Error is "FILE:LINE: FIELD: PROBLEM", without what is not known.
func (e *Error) Error() string {
	var text strings.Builder
	if e.File != "" {
		text.WriteString(oneLine(e.File))
		if e.Line > 0 {
			fmt.Fprintf(&text, ":%d", e.Line)
		}
		text.WriteString(": ")
	}
	if e.Field != "" {
		text.WriteString(e.Field + ": ")
	}
	text.WriteString(e.Problem)
	return text.String()
}

// quoteLimit is how many characters of a value a message shows.
const quoteLimit = 60

// quote shows a value that came from a file: escaped and cut, since it may be
// a megabyte of anything.
func quote(value string) string {
	shown := 0
	for i := range value {
		if shown == quoteLimit {
			return strconv.Quote(value[:i]) + "…"
		}
		shown++
	}
	return strconv.Quote(value)
}

// oneLine keeps text as it is, unless it would break a line or a terminal.
func oneLine(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return text
	}
	return strconv.Quote(text)
}

// shorten puts quote's form of a value in the place of the whole one in a
// message that another package has written about it.
func shorten(message, value string) string {
	return strings.ReplaceAll(message, strconv.Quote(value), quote(value))
}
