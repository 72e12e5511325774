// Package scenario is the file format of "engine simulate FILE": a volume, its
// healthy replica, what is left of the lost one, and how to rebuild it. A file
// is read with Parse, and Build puts what it describes on two in-memory hosts.
// Tests and benchmarks fill in a Scenario themselves and call Build.
//
// A file is wrong, and so an *Error, where it describes what cannot be: an
// unknown parent, a write beyond the end. What can be, but not be rebuilt (no
// space, names too long for the destination, a conflicting image, a hurt
// source), is for the engine to refuse: a scenario exists to show it.
package scenario
