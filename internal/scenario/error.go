package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error is a mistake in a scenario. Its text is one line.
type Error struct {
	File    string // as given; "" for a Scenario without a file
	Line    int    // from 1; 0: the file as a whole
	Field   string // such as source.snapshots[1].writes[0].seed; "": the file as a whole
	Problem string // the expected value and the actual one
}

// Error is "FILE:LINE: FIELD: PROBLEM", without the unknown parts.
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

// quoteLimit is the number of characters of a value that a message shows.
const quoteLimit = 60

// quote shows a value from a file, escaped and cut off, since it may be a megabyte of
// anything.
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

// shorten replaces the whole value by quote's form in a message of another package.
func shorten(message, value string) string {
	return strings.ReplaceAll(message, strconv.Quote(value), quote(value))
}
