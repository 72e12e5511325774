package spdk

import (
	"context"
	"slices"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// A bdev says whether it is claimed, not by whom. SPDK gives it to one user at a time
// (spdk_bdev_module_claim_bdev).

// readers is the claim of esnap clones in other lvstores, which read the bdev together.
const readers = "read_many_write_none"

// oneWriter is the claim of a copy within the target.
const oneWriter = "read_many_write_one"

// claims asks a target who has its bdevs.
type claims struct {
	exported *rpc.CallOf[[]spdktypes.NvmfSubsystem]
	raids    *rpc.CallOf[[]rpc.RAID]
	attached *rpc.CallOf[[]rpc.Controller]
}

func askClaims() *claims {
	return &claims{rpc.GetSubsystems(""), rpc.GetRAIDs(), rpc.GetControllers("")}
}

func (c *claims) calls() []rpc.Request { return []rpc.Request{c.exported, c.raids, c.attached} }

// err is the first error, other than that a target lacks a method: then that claims
// nothing.
func (c *claims) err() error { return rpc.FirstErr(c.calls(), ports.ErrUnsupported) }

// export is the subsystem that exports the bdev, and as which namespace.
func (c *claims) export(b *rpc.Bdev) (sub *spdktypes.NvmfSubsystem, nsid uint32) {
	for i := range c.exported.Result {
		for _, ns := range c.exported.Result[i].Namespaces {
			if ns.BdevName == b.UUID {
				return &c.exported.Result[i], ns.Nsid
			}
		}
	}
	return nil, 0
}

// isAttached reports whether the target is attached to the subsystem, which may be its
// own.
func (c *claims) isAttached(nqn string) bool {
	return slices.ContainsFunc(c.attached.Result, func(one rpc.Controller) bool {
		return slices.ContainsFunc(one.Paths, func(path rpc.ControllerPath) bool { return path.To.Subnqn == nqn })
	})
}

// raid is the RAID that the bdev is a base of; "": none.
func (c *claims) raid(b *rpc.Bdev) string {
	for _, raid := range c.raids.Result {
		for _, base := range raid.Bases {
			if base.UUID == b.UUID || base.Name == b.UUID || slices.Contains(b.Aliases, base.Name) {
				return raid.Name
			}
		}
	}
	return ""
}

// user is the user of the lvol, other than runs of rebuilds.
//
// Three uses forbid a delete. A target that is attached to its own subsystem hangs when
// a namespace of it goes. A delete of an lvol that esnap clones read never ends, and a
// delete of such a clone then crashes the target. A copy within the target may write to
// an lvol that is claimed otherwise (see Host.unclaim).
func (c *claims) user(b *rpc.Bdev, name string) domain.User {
	if !b.Claimed {
		return domain.User{}
	}
	if sub, _ := c.export(b); sub != nil {
		if nvmf.IsOurs(sub) {
			return domain.User{}
		}
		return domain.User{Kind: domain.UserExport, Name: sub.Nqn, NoDelete: c.isAttached(sub.Nqn), Host: nvmf.HeadHost(sub, replicaOf(name))}
	}
	if raid := c.raid(b); raid != "" {
		return domain.User{Kind: domain.UserRAID, Name: raid}
	}
	if b.ClaimType == oneWriter && isInFlight(name) {
		return domain.User{} // a copy within the target fills it
	}
	return domain.User{Kind: domain.UserClaim, Name: b.ClaimType, NoDelete: true}
}

// replicaOf is the replica whose head, final or live, has that name.
func replicaOf(head string) string {
	if replica, inFlight := domain.ReplicaInFlight(head); inFlight {
		return replica
	}
	return head
}

func isInFlight(name string) bool {
	_, replica := domain.ReplicaInFlight(name)
	return replica || domain.IsImageInFlight(name)
}

// claims asks the target who has its bdevs.
func (v *view) claims(ctx context.Context) (*claims, error) {
	c := askClaims()
	v.store.Client.Do(ctx, c.calls()...)
	err := c.err()
	return c, err
}

// addUsers adds the users of listed lvols. As a rule there are none but this host's own
// runs, and no call is made.
func (v *view) addUsers(ctx context.Context, lvols []domain.Lvol, found *listing) (err error) {
	claimed := make(map[string]*rpc.Bdev)
	for i := range found.bdevs.Result {
		if b := &found.bdevs.Result[i]; b.Claimed && b.Driver.Lvol != nil && !v.exports.Receives(b.UUID) {
			claimed[b.UUID] = b
		}
	}
	v.claimed.Store(len(claimed) > 0)
	if len(claimed) == 0 {
		return nil
	}
	claims := found.claims
	if claims == nil {
		if claims, err = v.claims(ctx); err != nil {
			return err
		}
	}
	for i := range lvols {
		if b := claimed[lvols[i].UUID]; b != nil {
			lvols[i].UsedBy = claims.user(b, lvols[i].Name)
		}
	}
	return nil
}
