// Package facts is what SPDK targets do, as tests: each fact is a short script of
// JSON-RPC calls with the answers that a target gives. They are run on simulated
// targets, and on the real ones that are found; where the two differ, the real one
// is right.
//
// A line of a script is one write to the target. Calls in it are separated by ";",
// and what they are answered follows after "=>", in the same order:
//
//	create a 4                          a works, whatever the answer is
//	clone a c => -32602 Invalid argument
//	create t 1 => -32602 File exists or -17 File exists
//	show s => {"clones": ["a"]}         what is given has to be there
//	fork: rename s t => true            on that flavour only
//	B: create d 4                       on the second target; C is a third one
//
// Calls are methods of SPDK with key=value, where @x is the alias of lvol x of the
// fact's lvstore, or one of the short forms in verbs.go. "no answer" is expected of
// a target that hangs, "dies" of one that crashes.
//
// "load" and "unload" have clients at work on an exported volume between two lines. What takes many
// attempts under load to be seen, and what was measured, stands in live.md.
package facts
