package domain

import (
	"fmt"
	"slices"
	"time"
)

// Volume is a mirror over the heads of several replicas: each write goes to all of them.
type Volume struct {
	Name    string
	Size    uint64 // bytes
	Members []Member

	// Pending: the volume is being made or removed, or an engine has died over that. Clients
	// cannot use it. Members are the heads that it is about, as ModeERR.
	Pending bool

	// Host is the host that exports of members admit, as User.Host; no other volume has it. By
	// it the export of a head is recognized that is no member any more. "": it is not.
	Host string
}

// Member is a replica of a Volume, known by its head.
type Member struct {
	Head string // UUID of the lvol
	Name string // by which the mirror knows it, for people; in SPDK a bdev

	Mode   Mode
	Reason string // of ModeERR; of another mode, why the mirror may be about to drop it

	// Since is the time from which on it has had every write. It changes whenever the
	// mirror was without the member for a moment. Zero: not known.
	Since time.Time
}

// IsDoubted reports whether the mirror may be about to drop a member that it still lists.
func (m Member) IsDoubted() bool { return m.Mode != ModeERR && m.Reason != "" }

// why is the end of a sentence about a member, with the reason for its mode if one is known.
func (m Member) why() string {
	if m.Reason == "" {
		return ""
	}
	return ": " + m.Reason
}

// Mode says which part a member has in its volume. The letters are Longhorn's.
type Mode string

// The modes.
const (
	ModeRW  Mode = "RW"  // whole: it is read and written
	ModeWO  Mode = "WO"  // it gets every write, and the rest of its data is being rebuilt
	ModeERR Mode = "ERR" // it has missed a write, or may have; only a rebuild makes it whole again
)

// Member finds the member with that head.
func (v Volume) Member(head string) (Member, bool) {
	i := v.find(head)
	if i < 0 {
		return Member{}, false
	}
	return v.Members[i], true
}

// dropped reports whether the lvol is no member any more, and still exported to this volume's
// host, and to no other. An export that its own target is attached to is not ended.
func (v Volume) dropped(l Lvol) bool {
	_, is := v.Member(l.UUID)
	by := l.UsedBy
	return !is && by.Kind == UserExport && by.Host != "" && by.Host == v.Host && !by.NoDelete
}

func (v Volume) find(head string) int {
	return slices.IndexFunc(v.Members, func(m Member) bool { return m.Head == head })
}

// Join adds a member that is being rebuilt. It has every write from now on.
func (v Volume) Join(m Member) (Volume, error) {
	if v.find(m.Head) >= 0 {
		return v, fmt.Errorf("lvol %s is a member of volume %s already", m.Head, v.Name)
	}
	m.Mode, m.Reason = ModeWO, ""
	v.Members = append(slices.Clone(v.Members), m)
	return v, nil
}

// Land makes a member whole that was rebuilt, if the mirror has not been without it since
// it joined.
func (v Volume) Land(joined Member) (Volume, error) {
	if err := v.CheckUnbroken(joined); err != nil {
		return v, err
	}
	return v.set(joined.Head, ModeRW, ""), nil
}

// CheckUnbroken refuses a member that the mirror has been without since it joined: it has
// missed writes. A mirror that cannot tell since when proves nothing.
func (v Volume) CheckUnbroken(joined Member) error {
	now, is := v.Member(joined.Head)
	switch {
	case !is:
		return fmt.Errorf("lvol %s is no member of volume %s any more, so it lacks writes", joined.Head, v.Name)
	case now.Mode == ModeERR:
		return fmt.Errorf("volume %s lost member %s, so it lacks writes%s", v.Name, now.Name, now.why())
	case joined.Since.IsZero() || now.Since.IsZero():
		return fmt.Errorf("volume %s does not tell since when %s is a member, so it may lack writes", v.Name, now.Name)
	case !now.Since.Equal(joined.Since):
		return fmt.Errorf("volume %s was without member %s for a time, so it lacks writes", v.Name, now.Name)
	}
	return nil
}

// CheckKept refuses a member, as listed before, that has missed a write since. Unlike
// CheckUnbroken, it accepts one that both times had no Since.
func (v Volume) CheckKept(before Member) error {
	now, is := v.Member(before.Head)
	switch {
	case !is || now.Mode == ModeERR:
	case now.IsDoubted():
		return fmt.Errorf("member %s of volume %s may lack writes: %s", now.Name, v.Name, now.Reason)
	case now.Since.Equal(before.Since):
		return nil
	}
	return v.CheckUnbroken(before)
}

// Lose marks a member that has missed a write.
func (v Volume) Lose(head, reason string) Volume { return v.set(head, ModeERR, reason) }

// Leave removes a member. The last whole one cannot leave.
func (v Volume) Leave(head string) (Volume, error) {
	leaving, is := v.Member(head)
	if !is {
		return v, nil
	}
	whole := func(m Member) bool { return m.Mode == ModeRW && m.Head != head }
	if leaving.Mode == ModeRW && !slices.ContainsFunc(v.Members, whole) {
		return v, fmt.Errorf("%s is the last whole member of volume %s", leaving.Name, v.Name)
	}
	v.Members = slices.DeleteFunc(slices.Clone(v.Members), func(m Member) bool { return m.Head == head })
	return v, nil
}

func (v Volume) set(head string, mode Mode, reason string) Volume {
	v.Members = slices.Clone(v.Members)
	if i := v.find(head); i >= 0 {
		v.Members[i].Mode, v.Members[i].Reason = mode, reason
	}
	return v
}
