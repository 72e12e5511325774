package spdk

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Names of xattrs: Longhorn's own on snapshots and images, so that it can read
// what we seal, and one of ours on heads.
const (
	xattrUserCreated   = "user_created"
	xattrTimestamp     = "snapshot_timestamp"
	xattrImageChecksum = "longhorn_backing_image_checksum"
	xattrImageUUID     = "longhorn_backing_image_uuid"
	xattrImageState    = "longhorn_backing_image_prepare_state"
	xattrRecord        = "rebuild_backing_image"
)

// imageReady is the state of a backing image that Longhorn takes for whole.
const imageReady = "ready"

// recorded is what a host records of a snapshot, as one of a replica or as an
// image.
type recorded struct {
	asImage    bool
	attributes domain.Attributes
	image      domain.ImageRecord
}

// xattrCall asks for one xattr of an lvol.
type xattrCall struct {
	*rpc.CallOf[string]
	store func(l *domain.Lvol, value string)
}

func askXattr(uuid, key string, store func(*domain.Lvol, string)) *xattrCall {
	return &xattrCall{rpc.GetXattr(uuid, key), store}
}

// askRecord asks for the record of a head. Others may write it, so it is asked for
// each time; that an lvol is a head seldom changes, so it can be asked for in the write
// that looks at the lvol.
func askRecord(uuid string) *xattrCall {
	return askXattr(uuid, xattrRecord, func(l *domain.Lvol, v string) { l.Record = v })
}

// askAttributes are the calls that tell what is recorded of an lvol: none if it
// is known already or records nothing. This branch lists no xattr anywhere, so
// each one is a call.
//
// Those of a snapshot never change (they are set when it is made), and its UUID
// is never another's, so they are asked for once. The record of a head may be
// written by others.
func (h *Host) askAttributes(l *domain.Lvol) []*xattrCall {
	if !h.store.Can.Records || l.Degraded {
		return nil
	}
	_, image := domain.ImageOfLvolName(l.Name, h.store.UUID)
	if l.ReadOnly {
		h.mu.Lock()
		known, ok := h.recorded[l.UUID]
		h.mu.Unlock()
		if ok && known.asImage == image {
			l.Attributes, l.Image = known.attributes, known.image
			return nil
		}
	}
	switch {
	case image:
		return []*xattrCall{
			askXattr(l.UUID, xattrImageUUID, func(l *domain.Lvol, v string) { l.Image.UUID = v }),
			askXattr(l.UUID, xattrImageChecksum, func(l *domain.Lvol, v string) { l.Image.Checksum = v }),
			askXattr(l.UUID, xattrImageState, func(l *domain.Lvol, v string) {
				if v != imageReady {
					l.Image.Unready = v
				}
			}),
		}
	case l.ReadOnly:
		return []*xattrCall{
			askXattr(l.UUID, xattrUserCreated, func(l *domain.Lvol, v string) {
				l.Attributes.UserCreated = v == strconv.FormatBool(true)
			}),
			askXattr(l.UUID, xattrTimestamp, func(l *domain.Lvol, v string) {
				if at, err := time.Parse(time.RFC3339, v); err == nil {
					l.Attributes.CreatedAt = at.UTC().Truncate(time.Second)
				}
			}),
		}
	case h.isHead(l):
		return []*xattrCall{askRecord(l.UUID)}
	}
	return nil
}

// takeAttributes stores the answers. ports.ErrNotFound: the lvol has gone since.
func (h *Host) takeAttributes(l *domain.Lvol, asked []*xattrCall) error {
	for _, one := range asked {
		switch {
		case one.Err == nil:
			one.store(l, one.Result)
		case !isMissingXattr(one.Err):
			return fmt.Errorf("what is recorded of lvol %s: %w", l.Name, one.Err)
		}
	}
	if l.ReadOnly && len(asked) > 0 {
		_, image := domain.ImageOfLvolName(l.Name, h.store.UUID)
		h.remember(l.UUID, recorded{asImage: image, attributes: l.Attributes, image: l.Image})
	}
	return nil
}

// isMissingXattr reports whether the target has said that the lvol has no such key. "No
// such device" says nothing of its keys: the lvol has gone, or its disk is not loaded yet.
func isMissingXattr(err error) bool { return rpc.RefusedAs(err, syscall.ENOENT) }

func (h *Host) remember(snapshot string, r recorded) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recorded[snapshot] = r
}

// forgetOthers drops what is known of snapshots that are not listed any more.
func (h *Host) forgetOthers(listed []domain.Lvol) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := make(map[string]recorded, len(listed))
	for i := range listed {
		if r, ok := h.recorded[listed[i].UUID]; ok {
			known[listed[i].UUID] = r
		}
	}
	h.recorded = known
}

// readAttributes fills in what is recorded of the lvols, but for the records that were
// asked for with the listing. The calls share writes. Those that the target does not
// find are missing, by UUID.
func (h *Host) readAttributes(ctx context.Context, lvols []domain.Lvol, records map[string]*xattrCall) (missing map[string]bool, err error) {
	asked := make([][]*xattrCall, len(lvols))
	var calls []rpc.Request
	for i := range lvols {
		if told := records[lvols[i].UUID]; told != nil && h.isHead(&lvols[i]) {
			asked[i] = []*xattrCall{told}
			continue
		}
		asked[i] = h.askAttributes(&lvols[i])
		for _, one := range asked[i] {
			calls = append(calls, one)
		}
	}
	h.rpc.Do(ctx, calls...)
	missing = make(map[string]bool)
	for i := range lvols {
		err := h.takeAttributes(&lvols[i], asked[i])
		if errors.Is(err, ports.ErrNotFound) {
			missing[lvols[i].UUID] = true
		} else if err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// snapshotXattrs are what a snapshot of a replica records.
func snapshotXattrs(a domain.Attributes) map[string]string {
	xattrs := map[string]string{xattrUserCreated: strconv.FormatBool(a.UserCreated)}
	if !a.CreatedAt.IsZero() {
		xattrs[xattrTimestamp] = a.CreatedAt.UTC().Format(time.RFC3339)
	}
	return xattrs
}

// imageXattrs are what a backing image records. What is not known is left out.
func imageXattrs(image domain.ImageRecord) map[string]string {
	xattrs := map[string]string{xattrImageState: imageReady}
	if image.UUID != "" {
		xattrs[xattrImageUUID] = image.UUID
	}
	if image.Checksum != "" {
		xattrs[xattrImageChecksum] = image.Checksum
	}
	return xattrs
}

// Record implements ports.Recorder.
func (h *Host) Record(ctx context.Context, head, record string) error {
	if !h.store.Can.Records {
		return h.store.Failed(fmt.Errorf("the target keeps no xattrs: %w", ports.ErrUnsupported), "record the backing image of %s", head)
	}
	err := h.setRecord(ctx, head, record)
	return h.store.Failed(err, "record backing image %q of %s", record, head)
}

func (h *Host) setRecord(ctx context.Context, uuid, record string) error {
	return rpc.SetXattr(uuid, xattrRecord, record).Do(ctx, h.rpc)
}
