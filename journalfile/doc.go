// Package journalfile keeps the journal of rebuilds in a file: what was copied,
// kept and why, for people, and the proof of what was sealed from what, which
// hosts without checksums lack. It goes into a rebuild.Request:
//
//	kept, err := journalfile.Open(journalfile.Config{Path: "/var/lib/engine/rebuilds"})
//	request.Journal = kept
//
// One process has it open at a time; Read reads it meanwhile.
package journalfile
