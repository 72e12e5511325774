package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// RepairRequest is the argument of Engine.Repair.
type RepairRequest struct {
	Replica Site

	// Base is the volume's base, the zero Base if the caller does not know it.
	Base domain.Base

	// Healthy is another replica of the volume. It may know the base, and is compared
	// with the repaired replica. The zero Site: none.
	Healthy Site

	Observer Observer // may be nil
}

// RepairReport is the result of a repair.
type RepairReport struct {
	Outcome Outcome
	Plan    domain.Plan
	Replica domain.Replica // as last listed

	Compared   bool               // the replica was compared with Healthy
	Violations []domain.Violation // violations that remain
	Notices    []string           // facts worth knowing that are no faults
	Duration   time.Duration
}

// PlanRepair returns what Repair would do.
func (e *Engine) PlanRepair(ctx context.Context, request RepairRequest) (domain.Plan, error) {
	_, plan, err := e.planRepair(ctx, request)
	return plan, err
}

// Repair restores the lineage of a replica whose ancestor lost its image, by grafts.
func (e *Engine) Repair(ctx context.Context, request RepairRequest) (RepairReport, error) {
	began := time.Now()
	var report RepairReport
	changed, err := e.repair(ctx, request, &report)
	report.Duration = time.Since(began)
	report.Outcome, err = ended("repair replica "+request.Replica.Replica, err, changed)
	e.log.Info("repair", zap.String("replica", request.Replica.Replica), zap.String("outcome", string(report.Outcome)), zap.Error(err))
	return report, err
}

func (e *Engine) planRepair(ctx context.Context, request RepairRequest) (domain.Replica, domain.Plan, error) {
	r, err := e.Replica(ctx, request.Replica)
	if err != nil {
		return r, domain.Plan{}, err
	}
	var others []domain.Replica
	if request.Healthy.Host != nil {
		healthy, err := e.Replica(ctx, request.Healthy)
		if err != nil {
			return r, domain.Plan{}, err
		}
		if healthy.Name == r.Name && healthy.Store.UUID == r.Store.UUID {
			return r, domain.Plan{}, refusef("replica %s on lvstore %s cannot be compared with itself", r.Name, r.Store.Name)
		}
		others = append(others, healthy)
	}
	plan, err := domain.PlanRepair(r, request.Base, others...)
	return r, plan, refused(err)
}

func (e *Engine) repair(ctx context.Context, request RepairRequest, report *RepairReport) (changed bool, err error) {
	at := request.Replica.guarded()
	release, err := e.leaseForChange(ctx, at, "the repair")
	if err != nil {
		return false, err
	}
	defer release()
	var warnings []string // of plans that were carried out in part
	changed, err = e.changeInPlace(ctx, at, "the repair of replica "+at.Replica, request.Observer, func() (_ domain.Replica, _ domain.Plan, err error) {
		report.Replica, report.Plan, err = e.planRepair(ctx, request)
		for _, warning := range warnings {
			if !slices.Contains(report.Plan.Warnings, warning) {
				report.Plan.Warnings = append(report.Plan.Warnings, warning)
			}
		}
		warnings = report.Plan.Warnings
		return report.Replica, report.Plan, err
	})
	if err != nil {
		return changed, err
	}
	return true, e.verifyRepair(ctx, request, report)
}

// verifyRepair audits the repaired replica, and compares it with the healthy one if there
// is one.
func (e *Engine) verifyRepair(ctx context.Context, request RepairRequest, report *RepairReport) (err error) {
	if report.Replica, err = e.Replica(ctx, request.Replica); err != nil {
		return err
	}
	audit := domain.Audit(report.Replica, report.Plan.Base)
	report.Violations, report.Notices = audit.Violations, audit.Notices
	if request.Healthy.Host != nil {
		if err := e.compareRepaired(ctx, request, report); err != nil {
			return err
		}
	} else {
		report.Notices = append(report.Notices, report.Plan.Warnings...)
	}
	for _, v := range report.Violations {
		if v.Repairable {
			return fmt.Errorf("verify: %w: still wrong: %s", ports.ErrCorrupt, v)
		}
	}
	return nil
}

// compareRepaired compares the snapshots of both replicas, including those that were
// written while the replica was damaged.
func (e *Engine) compareRepaired(ctx context.Context, request RepairRequest, report *RepairReport) error {
	audited, err := e.Audit(ctx, AuditRequest{Sites: []Site{request.Replica, request.Healthy}, Base: report.Plan.Base})
	if err != nil {
		return err
	}
	report.Compared = true
	volume := audited.Volumes[0]
	healthy := &volume.Replicas[1]
	healthy.Violations = slices.DeleteFunc(healthy.Violations, func(v domain.Violation) bool { return v.Rule == domain.RuleEntryPoint }) // others read wrong bytes, not this one
	for _, v := range volume.Replicas[1].Violations {
		report.Violations = append(report.Violations, domain.Violation{
			Subject: v.Subject, Rule: v.Rule, Detail: "in replica " + volume.Names[1] + ", which it was compared with: " + v.Detail,
		})
	}
	for _, d := range volume.Differences {
		report.Violations = append(report.Violations, domain.Violation{Subject: d.Subject, Rule: d.Rule, Detail: d.Detail()})
	}
	switch {
	case len(volume.Replicas[1].Violations) > 0:
		report.Notices = append(report.Notices, fmt.Sprintf("%s is damaged itself, so a comparison with it proves nothing", volume.Names[1]))
	case len(volume.Differences) > 0:
		report.Notices = append(report.Notices, fmt.Sprintf("the replica differs from %s: data written while it was damaged is not proven; rebuild it from there", volume.Names[1]))
	case !allProven(volume):
		report.Notices = append(report.Notices, "not every snapshot has a checksum on both hosts: names, parents, sizes and cluster counts are equal, the bytes are not proven")
	case report.Replica.Head.Own.Count > 0:
		report.Notices = append(report.Notices, fmt.Sprintf("all snapshots are proven equal to those of %s; the %d clusters of the head are not proven: hosts have no checksums of writable lvols", volume.Names[1], report.Replica.Head.Own.Count))
	default:
		report.Notices = append(report.Notices, fmt.Sprintf("all snapshots are proven equal to those of %s, by map and checksum", volume.Names[1]))
	}
	return nil
}

// allProven reports whether every snapshot has a map and a checksum.
func allProven(v domain.VolumeAudit) bool {
	return !slices.ContainsFunc(v.Replicas, func(a domain.ReplicaAudit) bool {
		return slices.ContainsFunc(a.Replica.Snapshots, func(s domain.Snapshot) bool { return !s.Lvol.Own.Proven() })
	})
}
