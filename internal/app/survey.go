package app

import (
	"context"

	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Survey lists a host's store by replicas, images and other lvols.
func (e *Engine) Survey(ctx context.Context, host ports.Looker) (domain.Survey, error) {
	store, err := guard.List(ctx, host)
	if err != nil {
		return domain.Survey{}, err
	}
	survey, err := domain.NewSurvey(store)
	return survey, refused(err)
}

// Replica returns one replica, and refuses one that has nothing on the host.
func (e *Engine) Replica(ctx context.Context, at Site) (domain.Replica, error) {
	return existingReplica(ctx, at.guarded())
}

func existingReplica(ctx context.Context, at site) (domain.Replica, error) {
	r, err := listReplica(ctx, at)
	if err == nil && !r.Exists() {
		err = refusef("replica %s not found on lvstore %s", at.Replica, r.Store.Name)
	}
	return r, err
}

// listReplica lists a replica that need not exist.
func listReplica(ctx context.Context, at site) (domain.Replica, error) {
	if err := at.check(); err != nil {
		return domain.Replica{}, err
	}
	store, err := list(ctx, at)
	if err != nil {
		return domain.Replica{}, err
	}
	r, err := at.replica(store)
	return r, refused(err)
}
