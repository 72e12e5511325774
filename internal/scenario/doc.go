// Package scenario is the file format of "engine simulate FILE": a volume, its healthy
// replica, the leftovers of the lost one, and how to rebuild it. Parse reads a file, and
// Build creates its lvols on two in-memory hosts. Tests and benchmarks fill in a Scenario
// themselves and call Build.
//
// A file that describes an impossible state, such as an unknown parent or a write beyond
// the end, is an *Error. A possible state that cannot be rebuilt (no space, names too long
// for the destination, a conflicting image, a hurt source) is refused by the engine:
// scenarios can demonstrate that.
package scenario
