package main

import (
	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
)

// inUseHelp is in the help of the commands that change a replica.
const inUseHelp = `
A replica in use is refused before anything is changed: its head is exported, a base
of a RAID or claimed, and not by a run of this engine. --in-use allows the change;
the engine that uses the replica may then fail it. A delete that would hang the
target is always refused.
`

// addInUse adds --in-use.
func addInUse(c *cobra.Command, allowed *bool) {
	c.Flags().BoolVar(allowed, "in-use", false, "change a replica even if it is exported, a base of a RAID or claimed")
}

// userState is a user of an lvol.
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
