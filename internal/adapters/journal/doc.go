// Package journal keeps a ports.Journal in a file.
//
// The file is text, a line an entry, only ever added to. A line begins with
// the CRC-32 of the rest, which is JSON: what a crash has torn, or a disk has
// spoiled, is known as such and passed over, and the next entry begins on a line
// of its own. Since a sealing is believed to prove that two snapshots are equal,
// a line counts only if its checksum does.
//
// A sealing is written to the operating system before Append returns, so it
// survives the process; the end of a run is written to the disk, too. What a
// power cut takes away costs a copy.
//
// The file is bounded: when it has grown to twice what was worth keeping, and to
// more than Config.Bytes, it is written anew with the newest sealing of each
// snapshot and the newest ends of runs.
package journal
