package app

import (
	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Site is a replica on a host.
type Site struct {
	Host    ports.Host
	Replica string

	// AllowInUse allows changes of a replica that is in use: its head is exported, a base
	// of a RAID or claimed (Lvol.UsedBy), and not by a run of this engine. Otherwise they
	// are refused with the name of the user. A change that would hang the host is always
	// refused. A source is changed only if its head has clusters of its own: the rebuild
	// takes a snapshot of it.
	AllowInUse bool
}

// site is a Site with a guarded host. Every host enters the engine through guarded: the
// code behind it takes a site or a request, never a caller's host.
type site struct {
	Site

	Host *guard.Host
}

func (s Site) guarded() site { return site{s, guard.Wrap(s.Host)} }

func (s site) replica(store domain.Listing) (domain.Replica, error) {
	r, err := domain.NewReplica(store, s.Replica)
	r.AllowInUse = s.AllowInUse
	return r, err
}

// destination is like replica, for a replica that is rebuilt from source.
func (s site) destination(store domain.Listing, source domain.Replica) (domain.Replica, error) {
	r, err := domain.NewDestination(store, s.Replica, source)
	r.AllowInUse = s.AllowInUse
	return r, err
}

func (s site) check() error {
	if s.Host == nil {
		return refusef("no host")
	}
	if err := domain.CheckReplicaName(s.Replica); err != nil {
		return &refusal{err}
	}
	return nil
}

// checkChangeable refuses a host that can only be a source.
func (s site) checkChangeable() error {
	if err := checkChangeable(s.Host); err != nil {
		return refusef("replica %s: %w", s.Replica, err)
	}
	return nil
}

func checkChangeable(host *guard.Host) error {
	if host == nil {
		return refusef("no host")
	}
	if _, ok := ports.As[ports.Store](host); !ok {
		return refusef("this host can only be a source of rebuilds")
	}
	return nil
}

// checkFreezable refuses a source that needs a snapshot of its head if its host cannot
// take one.
func (s site) checkFreezable(source domain.Replica) error {
	if source.Head == nil || source.Head.Own.Count == 0 {
		return nil
	}
	if _, ok := ports.As[ports.Snapshotter](s.Host); ok {
		return nil
	}
	return refusef("the head of replica %s on lvstore %s has %d clusters of its own, and its host cannot take the system snapshot that a rebuild needs: take a snapshot of the replica there first",
		source.Name, source.Store.Name, source.Head.Own.Count)
}
