// Package journalfile keeps the journal of rebuilds in a file: for people, what was
// copied, kept and why; for the engine, which snapshot was sealed as the copy of which,
// a proof that hosts without checksums cannot give. It goes into a rebuild.Request:
//
//	journal, err := journalfile.Open(journalfile.Config{Path: "/var/lib/engine/rebuilds"})
//	request.Journal = journal
//
// One process has a journal open at a time; others can read it meanwhile (Read).
//
// # The file
//
// The file is text, one line an entry, and is only appended to. A line begins with the
// CRC-32 of the rest, which is JSON. A line whose checksum does not match, torn by a
// crash or damaged by a disk, is skipped, and the next entry begins on a new line: a
// sealing counts as proof that two snapshots are equal, so it counts only if it is
// intact.
//
// A sealing is written to the operating system before Append returns, so it survives
// the process. The end of a run is written to the disk, too. A power failure may lose
// sealings; each costs one more copy.
//
// The file is bounded: once it has twice the size of what is worth keeping, and more
// than Config.Bytes, it is rewritten with the newest sealing of each snapshot and the
// newest runs.
package journalfile
