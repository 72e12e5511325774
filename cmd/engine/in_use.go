package main

import (
	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
)

// inUseHelp is of the commands that change a replica.
const inUseHelp = `
A replica in use is refused before any change: its head is exported, a base of a
RAID or claimed, and not by a run of this engine. --in-use does it all the same;
the engine that uses it may fail the replica then. A delete that would hang the
target is refused in any case.
`

// addInUse adds --in-use.
func addInUse(c *cobra.Command, allowed *bool) {
	c.Flags().BoolVar(allowed, "in-use", false, "change a replica also while it is exported, a base of a RAID or claimed")
}

// userState is who uses an lvol.
type userState struct {
	Kind     string `json:"kind"` // export, raid or claim
	Name     string `json:"name"` // the NQN, the RAID's name, the type of the claim
	NoDelete bool   `json:"noDelete"`
}

func newUserState(u rebuild.User) *userState {
	if !u.Any() {
		return nil
	}
	return &userState{Kind: u.Kind.String(), Name: u.Name, NoDelete: u.NoDelete}
}
