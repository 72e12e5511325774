package simtarget

// misfit is an extent page that an lvol has taken over from a snapshot of another
// length, which was deleted: it has as many entries as the snapshot has clusters
// there. A target notices when it loads the lvstore (blob_parse).
type misfit struct {
	Page    uint64 `json:"page"`
	Entries uint64 `json:"entries"`
	Own     uint64 `json:"own"` // clusters of the lvol's own there then: with one more the page is written anew
}

func (l *lvol) clusters() uint64 { return l.state().Size / l.store.clusterSize }

// entries is how many clusters of the lvol are in that extent page.
func (l *lvol) entries(page uint64) uint64 {
	first := page * clustersPerExtent
	return min(max(l.clusters(), first)-first, clustersPerExtent)
}

// ownIn is how many of them are its own.
func (l *lvol) ownIn(page uint64) (own uint64) {
	for _, i := range l.owned() {
		if i/clustersPerExtent == page {
			own++
		}
	}
	return own
}

// takesOver is the page that does not fit, if there is one, after the lvol's
// parent has merged into it: the lvol takes pages over whole where it has
// none (delete_snapshot_update_extent_pages).
func (l *lvol) takesOver(from *lvol) *misfit {
	shorter := min(l.clusters(), from.clusters())
	if shorter == 0 {
		return l.misfit
	}
	page := (shorter - 1) / clustersPerExtent
	if l.ownIn(page) > 0 || from.ownIn(page) == 0 || l.entries(page) == from.entries(page) {
		return l.misfit
	}
	return &misfit{Page: page, Entries: from.entries(page), Own: from.ownIn(page)}
}

// fit is what becomes of the lvol when it is loaded: it is as long as its last page
// says. Where the page is not its last one, the lvol is not listed, and nothing that hangs
// on it.
func (l *lvol) fit() (ok bool) {
	m := l.misfit
	if m == nil || l.ownIn(m.Page) > m.Own || l.entries(m.Page) == m.Entries || l.entries(m.Page) == 0 {
		l.misfit = nil
		return true
	}
	if m.Page < (l.clusters()-1)/clustersPerExtent {
		return false
	}
	l.misfit = nil
	l.store.blobs.Reload(l.uuid, (m.Page*clustersPerExtent+m.Entries)*l.store.clusterSize)
	return true
}
