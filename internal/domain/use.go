package domain

import "fmt"

// User is somebody outside of this engine who has an lvol: its host exports it,
// mirrors it, or has claimed it for something else. What a rebuild has opened is no
// user. The zero User is nobody. There is one at most: hosts give an lvol to one user.
type User struct {
	Kind UserKind

	// NoDelete: deleting the lvol while it is used so would hang its host for good, or
	// is refused there. Nothing allows it.
	NoDelete bool

	Name string // the NQN of the export, the name of the RAID, the type of the claim
}

// UserKind says how an lvol is used.
type UserKind uint8

// The ways to use an lvol.
const (
	UserNobody UserKind = iota
	UserExport          // it is exported over NVMe-oF
	UserRAID            // it is a base of a RAID
	UserClaim           // something has claimed it that the host does not name
)

// String is a word for programs.
func (k UserKind) String() string {
	return [...]string{"", "export", "raid", "claim"}[k]
}

// Any reports whether there is one.
func (u User) Any() bool { return u.Kind != UserNobody }

// String says how the lvol is used, in words that follow "it is"; "" for nobody.
func (u User) String() string {
	requested := [...]string{"", "exported as ", "a base of RAID ", "claimed by somebody, as "}[u.Kind] + u.Name
	if u.Kind == UserExport && u.NoDelete {
		requested += ", and attached by its own target"
	}
	return requested
}

// change is what is done to an lvol that somebody may use, and what comes of it, in
// words that follow "would".
type change string

const (
	changeDelete change = "be deleted"
	changeFreeze change = "get a snapshot that its engine does not know, upon which the engine fails the replica"
	changeMerge  change = "lose a snapshot that its engine knows, upon which the engine fails the replica"
	changeGraft  change = "get another parent, under its readers' hands"
)

// refuseInUse refuses to change an lvol of the replica that somebody uses, unless
// that is allowed and the host survives it. To read it changes nothing.
func (r Replica) refuseInUse(l *Lvol, what change) error {
	switch {
	case !l.UsedBy.Any():
		return nil
	case what == changeDelete && l.UsedBy.NoDelete:
		return refuse("lvol %s on lvstore %s is in use (it is %s), and would be deleted, which can hang its host for good: end that use first, nothing allows this", l.Name, r.Store.Name, l.UsedBy)
	case r.AllowInUse:
		return nil
	}
	return refuse("lvol %s on lvstore %s is in use (it is %s), and would %s: detach the volume first, or allow it with --in-use", l.Name, r.Store.Name, l.UsedBy, what)
}

// warnInUse is what to say where refuseInUse lets it pass; "": nothing.
func (r Replica) warnInUse(l *Lvol, what change) string {
	if !l.UsedBy.Any() {
		return ""
	}
	return fmt.Sprintf("lvol %s on lvstore %s is in use (it is %s), and will %s", l.Name, r.Store.Name, l.UsedBy, what)
}
