package ports

import "fmt"

// As returns the host as one of the optional interfaces that not every host implements.
// A wrapper implements all of them and returns the wrapped host from Unwrap() Host; ok
// is false if the wrapped host lacks the interface. For a host made by SourceOnly, T may
// also be Store, Snapshotter or Receiver: ok reports whether the source implements it.
func As[T any](host Host) (it T, ok bool) {
	var none T
	if wrapper, is := host.(interface{ Unwrap() Host }); is {
		if _, wrapped := As[T](wrapper.Unwrap()); !wrapped {
			return none, false
		}
	}
	if source, is := host.(sourceOnly); is {
		it, ok = source.Source.(T)
		return it, ok
	}
	it, ok = host.(T)
	return it, ok
}

// Cannot is the ErrUnsupported of a host that lacks a capability: "this host cannot
// merge snapshots".
func Cannot(what string) error { return fmt.Errorf("this host cannot %s: %w", what, ErrUnsupported) }
