package domain

import "fmt"

// User is a user of an lvol outside of this engine: its host exports it, uses it in a
// RAID, or has claimed it for something else. A rebuild's own exports do not count, except for
// the way of a live head, which outlives the rebuild.
// The zero User is nobody. An lvol has at most one user.
type User struct {
	Kind UserKind

	// NoDelete: the host refuses to delete the lvol while it is used, or would hang for
	// good. No option permits it.
	NoDelete bool

	Name string // the NQN of the export, the name of the RAID, or the type of the claim

	// Host is the one host that an export admits, as Volume.Host, if it was made for a member of
	// a volume. "": it admits others, too, or that is not known.
	Host string
}

// UserKind says how an lvol is used.
type UserKind uint8

// The ways to use an lvol.
const (
	UserNobody UserKind = iota
	UserExport          // it is exported over NVMe-oF
	UserRAID            // it is a base bdev of a RAID
	UserClaim           // a module that the host does not name has claimed it
)

// String is a word for programs: export, raid or claim; "" for nobody.
func (k UserKind) String() string {
	return [...]string{"", "export", "raid", "claim"}[k]
}

// Any reports whether there is a user.
func (u User) Any() bool { return u.Kind != UserNobody }

// String describes the use in words that follow "it is"; "" for nobody.
func (u User) String() string {
	requested := [...]string{"", "exported as ", "a base bdev of RAID ", "claimed as "}[u.Kind] + u.Name
	if u.Kind == UserExport && u.NoDelete {
		requested += ", and attached by its own target"
	}
	return requested
}

// change is a change to an lvol that may be in use, with its consequences, in words
// that follow "would".
type change string

const (
	changeDelete change = "be deleted"
	changeFreeze change = "get a snapshot that its engine does not know, so that the engine fails the replica"
	changeMerge  change = "lose a snapshot that its engine knows, so that the engine fails the replica"
	changeGraft  change = "get another parent while it is read"
	changeMember change = "become a member of another volume"
)

// refuseInUse refuses to change an lvol of the replica that is in use, unless that is
// allowed and the host survives it.
func (r Replica) refuseInUse(l *Lvol, what change) error {
	switch {
	case !l.UsedBy.Any():
		return nil
	case what == changeDelete && l.UsedBy.NoDelete:
		return refuse("lvol %s on lvstore %s is in use (it is %s), and would be deleted, which can hang its host for good: end that use first; no option permits this", l.Name, r.Store.Name, l.UsedBy)
	case r.AllowInUse:
		return nil
	}
	return refuse("lvol %s on lvstore %s is in use (it is %s), and would %s: detach the volume first, or allow it with --in-use", l.Name, r.Store.Name, l.UsedBy, what)
}

// warnInUse is the warning for a use that refuseInUse allows; "": none.
func (r Replica) warnInUse(l *Lvol, what change) string {
	if !l.UsedBy.Any() {
		return ""
	}
	return fmt.Sprintf("lvol %s on lvstore %s is in use (it is %s), and will %s", l.Name, r.Store.Name, l.UsedBy, what)
}
