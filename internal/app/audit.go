package app

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/rootgraft/rebuild/internal/domain"
)

// AuditRequest is the argument of Engine.Audit.
type AuditRequest struct {
	// Sites are replicas of one volume, which are compared with each other. A Site without
	// a replica's name stands for all replicas of its host; those whose names belong to
	// one volume (domain.VolumeOfReplica) are compared.
	Sites []Site

	// Base is the volume's base, or the zero Base if the caller does not know it. It
	// applies to replicas that Sites name.
	Base domain.Base

	// Counts compares numbers of clusters instead of maps and checksums. A host without a
	// computed checksum would have to read the data.
	Counts bool
}

// AuditReport is the result of an audit.
type AuditReport struct {
	Volumes []domain.VolumeAudit // each with the replicas that were compared with each other
	Unclear []UnclearReplica
}

// UnclearReplica is a replica that cannot be audited because it is ambiguous.
type UnclearReplica struct {
	Store string // the lvstore's name
	domain.Unclear
}

// Wrong reports whether the audit found anything wrong.
func (r AuditReport) Wrong() bool {
	return len(r.Unclear) > 0 || slices.ContainsFunc(r.Volumes, domain.VolumeAudit.Wrong)
}

// Audit reports the rules that replicas break, and the differences between replicas of one
// volume.
func (e *Engine) Audit(ctx context.Context, request AuditRequest) (AuditReport, error) {
	if len(request.Sites) == 0 {
		return AuditReport{}, refusef("nothing to audit")
	}
	seen := make([][]foundReplica, len(request.Sites))
	unclear := make([][]UnclearReplica, len(request.Sites))
	all, looking := errgroup.WithContext(ctx)
	for i, at := range request.Sites {
		all.Go(func() (err error) {
			seen[i], unclear[i], err = e.findReplicas(looking, at.guarded())
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return AuditReport{}, err
	}
	var report AuditReport
	report.Unclear = slices.Concat(unclear...)
	for _, volume := range volumesOf(slices.Concat(seen...)) {
		proves := len(volume) > 1 && !request.Counts
		if proves {
			if err := prove(ctx, volume, domain.Base{}); err != nil {
				return AuditReport{}, err
			}
		}
		image := request.Base
		if !volume[0].named {
			image = domain.Base{}
		}
		replicas := make([]domain.Replica, len(volume))
		for i, f := range volume {
			replicas[i] = f.replica
		}
		audit := domain.AuditVolume(image, replicas...)
		if proves {
			audit.Notices = append(audit.Notices, unprovenNotices(volume)...)
		}
		report.Volumes = append(report.Volumes, audit)
	}
	return report, nil
}

// unprovenNotices name the snapshots of which a host that has checksums gave none: it may
// be busy with them, or they were deleted meanwhile. They were compared without.
func unprovenNotices(volume []foundReplica) (notices []string) {
	for _, f := range volume {
		if !f.replica.Store.Proves {
			continue
		}
		var unproven []string
		for _, s := range f.replica.Snapshots {
			if !s.Lvol.Own.Proven() {
				unproven = append(unproven, s.Name)
			}
		}
		if len(unproven) > 0 {
			notices = append(notices, fmt.Sprintf("the host of replica %s on lvstore %s gave no checksum of snapshots %s: they were compared by name, parent, size and clusters alone",
				f.replica.Name, f.replica.Store.Name, strings.Join(unproven, ", ")))
		}
	}
	return notices
}

type foundReplica struct {
	at      site
	replica domain.Replica
	named   bool // asked for by name
}

// findReplicas lists one replica, or all replicas of a host.
func (e *Engine) findReplicas(ctx context.Context, at site) ([]foundReplica, []UnclearReplica, error) {
	if at.Replica != "" {
		r, err := existingReplica(ctx, at)
		return []foundReplica{{at, r, true}}, nil, err
	}
	survey, err := e.Survey(ctx, at.Host)
	if err != nil {
		return nil, nil, err
	}
	var all []foundReplica
	for _, r := range survey.Replicas {
		all = append(all, foundReplica{Site{Host: at.Host, Replica: r.Name}.guarded(), r, false})
	}
	var unclear []UnclearReplica
	for _, u := range survey.Unclear {
		unclear = append(unclear, UnclearReplica{survey.Store.Name, u})
	}
	return all, unclear, nil
}

// volumesOf groups the replicas that are compared: all that were named, whatever their
// names are, and the others by volume. Each replica is in one group, once.
func volumesOf(all []foundReplica) [][]foundReplica {
	at := make(map[string]int)
	var volumes [][]foundReplica
	for _, f := range all {
		volume, ok := domain.VolumeOfReplica(f.replica.Name)
		switch {
		case f.named:
			volume = "" // no volume has this name
		case !ok:
			volume = f.replica.Store.UUID + "/" + f.replica.Name
		}
		i, known := at[volume]
		if !known {
			i = len(volumes)
			at[volume] = i
			volumes = append(volumes, nil)
		}
		if !slices.ContainsFunc(volumes[i], f.sameAs) {
			volumes[i] = append(volumes[i], f)
		}
	}
	return volumes
}

func (f foundReplica) sameAs(other foundReplica) bool {
	return f.replica.Name == other.replica.Name && f.replica.Store.UUID == other.replica.Store.UUID
}

// prove adds maps and checksums to the replicas of a volume.
func prove(ctx context.Context, volume []foundReplica, base domain.Base) error {
	all, ctx := errgroup.WithContext(ctx)
	for i := range volume {
		f := &volume[i]
		if !f.replica.Store.Proves {
			continue
		}
		all.Go(func() (err error) {
			snapshots := append(uuids(f.replica), f.replica.LvolsOf(base)...)
			for _, l := range f.replica.BaseLvols() {
				snapshots = append(snapshots, l.UUID)
			}
			if len(snapshots) == 0 {
				return nil
			}
			slices.Sort(snapshots)
			snapshots = slices.Compact(snapshots)
			f.replica, err = proveOne(ctx, f.at, f.replica, snapshots)
			return err
		})
	}
	return all.Wait()
}
