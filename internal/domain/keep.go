package domain

import "fmt"

// Sealing is a journal's record of a finished copy: its source and the number of own
// clusters of both. On hosts without checksums it is the only proof that two
// snapshots are equal.
type Sealing struct {
	Source, Copy                 string // UUIDs
	SourceClusters, CopyClusters uint64 // own clusters of each at that moment
}

// proof decides whether a snapshot on the destination is identical to the source's.
// Name, time of creation and number of clusters prove nothing: a merge can keep all
// three and change the data. A checksum alone proves nothing either, since SPDK's
// does not cover positions.
type proof struct {
	fast, noChecksums   bool
	source, destination Listing
	journal, thisRun    sealings
}

// sealings are indexed by the UUIDs of source and copy.
type sealings map[[2]string]Sealing

func newSealings(all []Sealing) sealings {
	found := make(sealings, len(all))
	for _, s := range all {
		found[[2]string{s.Source, s.Copy}] = s
	}
	return found
}

// confirm reports whether copied was sealed from source and both are unchanged
// since.
func (s sealings) confirm(source, copied *Lvol) bool {
	if len(s) == 0 {
		return false
	}
	then, ok := s[[2]string{source.UUID, copied.UUID}]
	return ok && then.SourceClusters == source.Own.Count && then.CopyClusters == copied.Own.Count
}

func newProof(source, destination Listing, options Options) proof {
	return proof{
		fast: !options.Full, noChecksums: options.NoChecksums, source: source, destination: destination,
		journal: newSealings(options.Sealings), thisRun: newSealings(options.ThisRun),
	}
}

// identical decides whether the destination's snapshot is the source's, with the
// reason.
func (p *proof) identical(source, copied *Lvol) (ok bool, reason string) {
	switch {
	case copied.Degraded:
		return false, "the existing one is degraded"
	case source.Size != copied.Size:
		return false, fmt.Sprintf("the existing one has %d bytes instead of %d", copied.Size, source.Size)
	case source.Own.Count != copied.Own.Count:
		return false, fmt.Sprintf("the existing one has %d clusters of its own instead of %d", copied.Own.Count, source.Own.Count)
	case p.source.Records && p.destination.Records && !source.Attributes.Equal(copied.Attributes):
		return false, "the existing one records another time of creation or another creator"
	case source.Own.Proven() && copied.Own.Proven() && !source.Own.provenEqual(copied.Own):
		return false, "the existing one has other data"
	case p.thisRun.confirm(source, copied):
		return true, "this run sealed it from this snapshot"
	case !p.fast:
		return false, "everything is copied, since fast rebuild is off"
	case source.Own.provenEqual(copied.Own):
		return true, "proven identical: same size, cluster map, checksum and attributes"
	case p.journal.confirm(source, copied):
		return true, "proven identical: it was sealed from this snapshot, and both are unchanged since"
	case !p.source.Proves:
		return false, "the existing one cannot be proven: the source's host reports no checksums"
	case !p.destination.Proves:
		return false, "the existing one cannot be proven: the destination's host reports no checksums"
	case p.noChecksums:
		return false, "the existing one cannot be proven: one of the hosts keeps no checksum of it, and none is computed"
	default:
		return false, "the existing one could not be proven"
	}
}

// ProofCandidates are the UUIDs, on each side, of the snapshots whose maps and
// checksums decide whether they are kept: those that look the same. The image is
// among them if both hosts have it and no record identifies the two as one, and so are the
// lvols that a linked clone's base reads through.
func ProofCandidates(source, destination Replica, base Base, options Options) (onSource, onDestination []string) {
	proof := newProof(source.Store, destination.Store, options)
	counterparts := findCounterparts(source, destination)
	for _, at := range source.positions {
		if counterparts[at] == noPosition || options.Full {
			continue
		}
		s, d := &source.Store.Lvols[at], &destination.Store.Lvols[counterparts[at]]
		if proof.journal.confirm(s, d) || proof.thisRun.confirm(s, d) || s.Size != d.Size || s.Own.Count != d.Own.Count {
			continue
		}
		onSource = append(onSource, s.UUID)
		onDestination = append(onDestination, d.UUID)
	}
	if name, ok := base.Image(); ok {
		s, onBoth := source.Store.BackingImage(name)
		d, has := destination.Store.BackingImage(name)
		if onBoth && has && !s.recordedEqual(d) && s.Lvol.Size == d.Lvol.Size {
			onSource = append(onSource, s.Lvol.UUID)
			onDestination = append(onDestination, d.Lvol.UUID)
		}
	}
	if _, _, isClone := base.Clone(); isClone {
		for _, p := range linkPairs(source.baseChain(base), destination.baseChain(base)) {
			ours, theirs := p[0], p[1]
			if ours.name == theirs.name && ours.lvol.Size == theirs.lvol.Size && ours.lvol.Own.Count == theirs.lvol.Own.Count {
				onSource = append(onSource, ours.lvol.UUID)
				onDestination = append(onDestination, theirs.lvol.UUID)
			}
		}
	}
	return onSource, onDestination
}

// WithProofs is the replica with the maps and checksums that its host reported, by
// UUID.
func (r Replica) WithProofs(proofs map[string]Clusters) (Replica, error) {
	store := r.Store
	store.Lvols = append([]Lvol(nil), store.Lvols...)
	for i, l := range store.Lvols {
		if own, ok := proofs[l.UUID]; ok {
			store.Lvols[i].Own = own
		}
	}
	proven, err := newReplica(store, r.Name, r.expected)
	proven.AllowInUse = r.AllowInUse
	return proven, err
}
