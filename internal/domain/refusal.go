package domain

import "fmt"

// Refusal is an error by which nothing was changed: what was asked for cannot
// be done safely, and the text says why, with names and figures.
type Refusal struct{ reason string }

// Error is the reason.
func (r *Refusal) Error() string { return r.reason }

func refuse(format string, args ...any) *Refusal {
	return &Refusal{fmt.Sprintf(format, args...)}
}
