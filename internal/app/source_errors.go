package app

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// noUsableSource is the error if none of several sources can be used.
type noUsableSource struct {
	text   string
	flaws  []error // by position
	causes []error // flaws that are no refusals
}

func (e *noUsableSource) Error() string   { return e.text }
func (e *noUsableSource) Unwrap() []error { return e.causes }

// Is makes it an ErrRefused if every flaw is a refusal.
func (e *noUsableSource) Is(target error) bool { return target == ErrRefused && len(e.causes) == 0 }

// noneUsable lists the reason for each source, on one line.
func (s *sources) noneUsable(flaws []error) error {
	e := &noUsableSource{flaws: flaws}
	var parts []string
	for at, flaw := range flaws {
		if flaw == nil {
			flaw = s.lostReason(at)
		}
		if !errors.Is(refused(flaw), ErrRefused) {
			e.causes = append(e.causes, flaw)
		}
		parts = append(parts, inOneLine(flaw))
	}
	e.text = fmt.Sprintf("none of the %d sources can be used: %s", len(s.sites), strings.Join(parts, "; "))
	return e
}

// rightSourceUnusable is the error if Request.RightSource cannot be used but another
// source can.
func (s *sources) rightSourceUnusable(name string, flaws []error) error {
	at := slices.IndexFunc(s.sites, func(s site) bool { return s.Replica == name })
	flaw := flaws[at]
	if flaw == nil {
		flaw = s.lostReason(at)
	}
	e := &noUsableSource{flaws: flaws, text: fmt.Sprintf("source %s, given as the right one, cannot be used: %s", name, inOneLine(flaw))}
	if !errors.Is(refused(flaw), ErrRefused) {
		e.causes = []error{flaw}
	}
	return e
}

// inOneLine replaces the line breaks of errors.Join.
func inOneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
