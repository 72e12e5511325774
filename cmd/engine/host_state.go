package main

import (
	"github.com/rootgraft/rebuild"
)

// hostState is what tree and replica list print as JSON: a store and all of its lvols,
// by what they belong to.
type hostState struct {
	verdict
	Store    storeState      `json:"store"`
	Replicas []treeState     `json:"replicas"`
	Unclear  []unclearState  `json:"unclear"`
	Images   []imageState    `json:"images"`
	Filling  []lvolState     `json:"filling"`
	Others   []lvolNameState `json:"others"`

	EntryPoints []entryPointState `json:"entryPoints"`
}

type storeState struct {
	Name          string `json:"name"`
	UUID          string `json:"uuid"`
	ClusterSize   uint64 `json:"clusterSize"`
	TotalClusters uint64 `json:"totalClusters"`
	FreeClusters  uint64 `json:"freeClusters"`
}

// treeState is a replica in its present state.
type treeState struct {
	Name      string      `json:"name"`
	Base      string      `json:"base"`         // by lineage or record; "none"; "": unknown
	Image     string      `json:"backingImage"` // likewise; "": it has another base
	Head      *lvolState  `json:"head"`         // null: there is none
	Snapshots []snapState `json:"snapshots"`
	InFlight  []lvolState `json:"inFlight"`
}

type lvolState struct {
	Name              string `json:"name"`
	Parent            string `json:"parent"`
	Size              uint64 `json:"size"`
	AllocatedClusters uint64 `json:"allocatedClusters"`
	Degraded          bool   `json:"degraded,omitempty"` // everything but the name is unknown

	UsedBy *userState `json:"usedBy,omitempty"` // none: not in use
}

func newLvolState(name string, parent rebuild.Parent, l rebuild.Lvol) lvolState {
	return lvolState{name, parent.String(), l.Size, l.Own.Count, l.Degraded, newUserState(l.UsedBy)}
}

type snapState struct {
	lvolState
	CreatedAt   string `json:"createdAt"`
	UserCreated bool   `json:"userCreated"`
}

type unclearState struct {
	Name   string `json:"name"`
	Store  string `json:"store"`
	Reason string `json:"reason"`
}

type imageState struct {
	Name              string   `json:"name"`
	UUID              string   `json:"uuid"`
	SHA512            string   `json:"sha512"`
	Size              uint64   `json:"size"`
	AllocatedClusters uint64   `json:"allocatedClusters"`
	Users             []string `json:"users"` // names of its clones
}

// entryPointState is an entry point of linked clones.
type entryPointState struct {
	lvolNameState
	Base     string   `json:"base"`     // of its linked clones
	Replica  string   `json:"replica"`  // of the source volume
	Snapshot string   `json:"snapshot"` // of that replica
	Clones   []string `json:"clones"`   // names of the linked clones' replicas
	Defect   string   `json:"defect"`   // "": none
}

type lvolNameState struct {
	Name              string `json:"name"`
	Size              uint64 `json:"size"`
	AllocatedClusters uint64 `json:"allocatedClusters"`
	Degraded          bool   `json:"degraded,omitempty"`

	UsedBy *userState `json:"usedBy,omitempty"`
}

func newHostState(s rebuild.Survey, failure error) hostState {
	return hostState{
		verdict: verdictOf(failure),
		Store: storeState{
			Name: s.Store.Name, UUID: s.Store.UUID, ClusterSize: s.Store.ClusterSize,
			TotalClusters: s.Store.TotalClusters, FreeClusters: s.Store.FreeClusters,
		},
		Replicas: each(s.Replicas, newTreeState),
		Unclear:  each(s.Unclear, func(u rebuild.Unclear) unclearState { return unclearState{u.Name, s.Store.Name, u.Reason} }),
		Images: each(s.Images, func(b rebuild.BackingImage) imageState {
			return imageState{b.Name, b.Lvol.Image.UUID, b.Lvol.Image.Checksum, b.Lvol.Size, b.Lvol.Own.Count, append([]string{}, s.UsersOf(b)...)}
		}),
		Filling: each(s.Filling, func(l rebuild.Lvol) lvolState { return newLvolState(l.Name, rebuild.Parent{}, l) }),
		Others:  each(s.Others, newLvolNameState),
		EntryPoints: each(s.EntryPoints, func(e rebuild.EntryPointOnStore) entryPointState {
			return entryPointState{newLvolNameState(e.Lvol), baseText(e.Base()), e.Replica, e.Snapshot, append([]string{}, e.Clones...), e.Defect}
		}),
	}
}

func newLvolNameState(l rebuild.Lvol) lvolNameState {
	return lvolNameState{l.Name, l.Size, l.Own.Count, l.Degraded, newUserState(l.UsedBy)}
}

func newTreeState(r rebuild.Replica) treeState {
	base := rebuild.Audit(r, rebuild.Base{}).Base
	of := func(l rebuild.Lvol) lvolState { return newLvolState(l.Name, r.ParentOf(l), l) }
	state := treeState{
		Name: r.Name, Base: baseText(base), Image: imageText(base), InFlight: each(r.InFlight, of),
		Snapshots: each(r.ParentsFirst(), func(s rebuild.Snapshot) snapState { return newSnapState(r, s) }),
	}
	if r.Head != nil {
		head := of(*r.Head)
		state.Head = &head
	}
	return state
}

func newSnapState(r rebuild.Replica, s rebuild.Snapshot) snapState {
	state := snapState{lvolState: newLvolState(s.Name, r.ParentOf(s.Lvol), s.Lvol), UserCreated: true}
	if r.Store.Records {
		state.CreatedAt, state.UserCreated = timeText(s.Lvol.Attributes.CreatedAt), s.Lvol.Attributes.UserCreated
	}
	return state
}
