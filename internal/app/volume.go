package app

import (
	"context"
	"slices"
	"time"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// VolumeRequest names a live volume and its replicas.
type VolumeRequest struct {
	Mirror  ports.Mirror
	Members []Site // also a replica that is being rebuilt

	// Base is the volume's base, or the zero Base if the caller does not know it.
	Base domain.Base

	// Freezer stops the clients for a moment, FreezeLimit is how long at most; 0:
	// DefaultFreezeLimit. Only snapshots need them.
	Freezer     ports.Freezer
	FreezeLimit time.Duration
}

// VolumeReport is a live volume with its replicas.
type VolumeReport struct {
	Volume    domain.Volume
	Replicas  []domain.VolumeReplica // those of Members that could be listed, in their order
	Strangers []domain.Member        // members that are none of the replicas given
	Lost      []string               // describes those of Members that could not be listed
}

// Faults describes what is wrong with the members themselves.
func (r VolumeReport) Faults() []string {
	return append(slices.Clone(r.Lost), r.Volume.Faults(r.Replicas, r.Strangers)...)
}

func (r VolumeRequest) check() error {
	if r.Mirror == nil {
		return refusef("no mirror")
	}
	if len(r.Members) == 0 {
		return refusef("no replica of the volume is given")
	}
	for _, at := range r.Members {
		if err := at.guarded().check(); err != nil {
			return err
		}
	}
	return nil
}

// Volume lists a live volume and its replicas. A replica whose host cannot be listed is
// described in the report; it is an error if that is so of all.
func (e *Engine) Volume(ctx context.Context, request VolumeRequest) (VolumeReport, error) {
	report, _, err := e.volume(ctx, request)
	return report, err
}

// volume also returns the guarded sites of the replicas.
func (e *Engine) volume(ctx context.Context, request VolumeRequest) (report VolumeReport, sites []site, err error) {
	if err := request.check(); err != nil {
		return report, nil, err
	}
	all := make([]site, len(request.Members))
	replicas, failures := make([]domain.Replica, len(all)), make([]error, len(all))
	var calls []func() error
	for i, at := range request.Members {
		all[i] = at.guarded()
		calls = append(calls, func() error {
			replicas[i], failures[i] = existingReplica(ctx, all[i])
			return nil
		})
	}
	calls = append(calls, func() (err error) {
		report.Volume, err = guard.Mirror{Mirror: request.Mirror}.Volume(ctx)
		return err
	})
	if err := executor.AtOnce(len(calls), calls...); err != nil {
		return report, nil, err
	}
	var found []domain.Replica
	for i, failure := range failures {
		if failure == nil {
			r := replicas[i]
			if slices.ContainsFunc(found, func(other domain.Replica) bool { return other.Name == r.Name && other.Store.UUID == r.Store.UUID }) {
				return report, nil, givenTwice(r.Name, r.Store.Name)
			}
			found, sites = append(found, replicas[i]), append(sites, all[i])
		} else {
			report.Lost = append(report.Lost, failure.Error())
		}
	}
	report.Replicas, report.Strangers = report.Volume.Assign(found)
	if len(found) == 0 {
		return report, nil, failures[0]
	}
	return report, sites, nil
}

// VolumeCheck is the result of CheckVolume.
type VolumeCheck struct {
	VolumeReport

	Audit domain.VolumeAudit // of the whole members
}

// Wrong reports whether anything was found.
func (c VolumeCheck) Wrong() bool { return len(c.Faults()) > 0 || c.Audit.Wrong() }

// CheckVolume compares maps and checksums of the whole members of a live volume. Clients may
// go on: the heads' data is not compared.
func (e *Engine) CheckVolume(ctx context.Context, request VolumeRequest) (VolumeCheck, error) {
	report, sites, err := e.volume(ctx, request)
	check := VolumeCheck{VolumeReport: report}
	if err != nil {
		return check, err
	}
	var whole []foundReplica
	for i, p := range report.Replicas {
		if p.Member.Mode == domain.ModeRW {
			whole = append(whole, foundReplica{sites[i], p.Replica, true})
		}
	}
	if len(whole) == 0 {
		return check, nil
	}
	if err := prove(ctx, whole, domain.Base{}); err != nil {
		return check, err
	}
	var replicas []domain.Replica
	for _, f := range whole {
		replicas = append(replicas, f.replica)
	}
	check.Audit = domain.AuditLive(request.Base, replicas...)
	check.Audit.Notices = append(check.Audit.Notices, unprovenNotices(whole)...)
	return check, nil
}
