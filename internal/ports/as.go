package ports

import "fmt"

// As returns the host as one of the optional interfaces that not every host implements.
// A wrapper implements them all and returns the host it wraps from Unwrap() Host; ok is
// false where a host below a wrapper lacks what the wrapper has.
func As[T any](host Host) (it T, ok bool) {
	var none T
	if wrapper, is := host.(interface{ Unwrap() Host }); is {
		if _, below := As[T](wrapper.Unwrap()); !below {
			return none, false
		}
	}
	it, ok = host.(T)
	return it, ok
}

// Cannot is the ErrUnsupported of a host that has no such thing: "this host cannot
// merge snapshots".
func Cannot(what string) error { return fmt.Errorf("this host cannot %s: %w", what, ErrUnsupported) }
