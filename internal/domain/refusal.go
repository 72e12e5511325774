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

// LossRefusal is a refusal that Options.Overwrite lifts: the rebuild would
// delete what may be the only copy of something.
type LossRefusal struct {
	refusal *Refusal
	Replica string // whose name has to be repeated
}

// Error says what would be lost.
func (r *LossRefusal) Error() string { return r.refusal.Error() }

// Unwrap is the refusal that it is.
func (r *LossRefusal) Unwrap() error { return r.refusal }
