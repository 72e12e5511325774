// Package freezer has implementations of ports.Freezer: two Go functions, two shell
// commands, or nothing at all. All of them end a freeze in time, whatever happens.
package freezer
