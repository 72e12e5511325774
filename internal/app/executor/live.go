package executor

import (
	"context"

	"github.com/rootgraft/rebuild/internal/domain"
)

// Live carries out the operations of a plan that concern a live volume, its members and its
// mirror. Members are numbered from 1; 0 is the destination.
type Live interface {
	// Lvstore is the name of a member's lvstore.
	Lvstore(member int) string
	// Snapshot takes a snapshot of a member's head and returns its UUID.
	Snapshot(ctx context.Context, o domain.Operation) (uuid string, err error)
	// Export shows an lvol of a member, or the live head, to those that read or write it.
	Export(ctx context.Context, member int, uuid string) error
	// GraftExternal makes the exported snapshots the parent of the live head.
	GraftExternal(ctx context.Context, head string) error
	// Join makes the live head a member.
	Join(ctx context.Context, head string) error
	// Leave takes a member out of the mirror.
	Leave(ctx context.Context, head string) error
	// Land grafts the lowest lvol of the live head's chain.
	Land(ctx context.Context, head, parent string) error
	// Name gives the live head its final name if it has been a member all the time.
	Name(ctx context.Context, head, name string) error
}

// A snapshot is known by member and Ref: each member has one.
type onMember struct {
	member int
	ref    domain.Ref
}

func (x *Executor) snapshot(ctx context.Context, s *step) error {
	uuid, err := x.Live.Snapshot(ctx, s.Operation)
	if err == nil {
		x.onMembers.Set(onMember{s.Member, s.Target}, uuid)
	}
	return err
}

func (x *Executor) export(ctx context.Context, s *step) error {
	uuid := x.refs.uuid(s.Target)
	if s.Member > 0 {
		uuid = x.onMembers.Get(onMember{s.Member, s.Target})
	}
	return x.Live.Export(ctx, s.Member, uuid)
}

func (x *Executor) graftExternal(ctx context.Context, s *step) error {
	if err := x.model.play(s.Operation); err != nil {
		return err
	}
	return x.Live.GraftExternal(ctx, x.refs.uuid(s.Target))
}

func (x *Executor) join(ctx context.Context, s *step) error {
	return x.Live.Join(ctx, x.refs.uuid(s.Target))
}

func (x *Executor) leave(ctx context.Context, s *step) error {
	return x.Live.Leave(ctx, x.refs.uuid(s.Target))
}

func (x *Executor) nameLive(ctx context.Context, s *step) error {
	if err := x.model.play(s.Operation); err != nil {
		return err
	}
	return x.Live.Name(ctx, x.refs.uuid(s.Target), s.Name)
}
