package domain

import "fmt"

// Refusal marks errors that guarantee that nothing was changed: the request cannot
// be fulfilled safely. The text gives the reason, with names and figures.
type Refusal struct{ reason string }

// Error is the reason.
func (r *Refusal) Error() string { return r.reason }

func refuse(format string, args ...any) *Refusal {
	return &Refusal{fmt.Sprintf(format, args...)}
}

// LossRefusal is a refusal that Options.Overwrite lifts: the rebuild would delete data
// that may be the only copy.
type LossRefusal struct {
	refusal *Refusal
	Replica string // the name to repeat in Options.Overwrite
}

// Error lists the data that would be lost.
func (r *LossRefusal) Error() string { return r.refusal.Error() }

// Unwrap returns the Refusal.
func (r *LossRefusal) Unwrap() error { return r.refusal }
