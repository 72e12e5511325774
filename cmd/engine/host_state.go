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
	state := hostState{
		verdict: verdictOf(failure),
		Store: storeState{
			Name: s.Store.Name, UUID: s.Store.UUID, ClusterSize: s.Store.ClusterSize,
			TotalClusters: s.Store.TotalClusters, FreeClusters: s.Store.FreeClusters,
		},
		Replicas: []treeState{}, Unclear: []unclearState{}, Images: []imageState{}, Filling: []lvolState{}, Others: []lvolNameState{},
		EntryPoints: []entryPointState{},
	}
	for _, r := range s.Replicas {
		state.Replicas = append(state.Replicas, newTreeState(r))
	}
	for _, u := range s.Unclear {
		state.Unclear = append(state.Unclear, unclearState{u.Name, s.Store.Name, u.Reason})
	}
	for _, b := range s.Images {
		state.Images = append(state.Images, imageState{
			Name: b.Name, UUID: b.Lvol.Image.UUID, SHA512: b.Lvol.Image.Checksum, Size: b.Lvol.Size,
			AllocatedClusters: b.Lvol.Own.Count, Users: append([]string{}, s.UsersOf(b)...),
		})
	}
	for _, l := range s.Filling {
		state.Filling = append(state.Filling, newLvolState(l.Name, rebuild.Parent{}, l))
	}
	for _, l := range s.Others {
		state.Others = append(state.Others, newLvolNameState(l))
	}
	for _, e := range s.EntryPoints {
		state.EntryPoints = append(state.EntryPoints, entryPointState{
			lvolNameState: newLvolNameState(e.Lvol), Base: baseText(e.Base()), Replica: e.Replica, Snapshot: e.Snapshot,
			Clones: append([]string{}, e.Clones...), Defect: e.Defect,
		})
	}
	return state
}

func newLvolNameState(l rebuild.Lvol) lvolNameState {
	return lvolNameState{l.Name, l.Size, l.Own.Count, l.Degraded, newUserState(l.UsedBy)}
}

func newTreeState(r rebuild.Replica) treeState {
	base := rebuild.Audit(r, rebuild.Base{}).Base
	state := treeState{Name: r.Name, Base: baseText(base), Image: imageText(base), Snapshots: []snapState{}, InFlight: []lvolState{}}
	of := func(name string, l rebuild.Lvol) lvolState {
		return newLvolState(name, r.ParentOf(l), l)
	}
	if r.Head != nil {
		head := of(r.Head.Name, *r.Head)
		state.Head = &head
	}
	for _, s := range r.ParentsFirst() {
		state.Snapshots = append(state.Snapshots, newSnapState(r, s))
	}
	for _, l := range r.InFlight {
		state.InFlight = append(state.InFlight, of(l.Name, l))
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
