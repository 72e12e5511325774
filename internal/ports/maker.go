package ports

import "context"

// Maker is implemented by a Mirror that the engine can make and remove. One that does not
// exist can be opened, too; its Volume is ErrNotFound.
//
// Begin, Remove and End let an engine that dies in between be followed by another one: the
// mirror's host notes which heads it is about. While there is a note and no mirror,
// domain.Volume is Pending. A note is lost with the mirror's host, as the mirror is.
type Maker interface {
	// Begin notes that the mirror is going to be made over these heads. From then on ways
	// can be offered to it. No error if the same heads are noted. ErrExists if others are,
	// or if the mirror exists.
	Begin(ctx context.Context, heads ...string) error

	// Make makes the mirror over the heads that are shown at these ways, to which it is
	// connected, all at once. The caller answers for equal bytes; nothing is copied.
	// ErrUnavailable if nothing is shown at one of them, ErrInvalid if the heads differ in
	// size, ErrExists if the mirror exists.
	Make(ctx context.Context, at ...Address) error

	// Remove removes the mirror, and notes its heads before, and those given, which it may have
	// dropped. They stay as they are, and so do the connections to them, which Leave ends. No
	// error if there is none. ErrBusy if clients use it; then nothing is changed.
	Remove(ctx context.Context, heads ...string) error

	// End removes the note. No error if there is none.
	End(ctx context.Context) error
}
