package spdk

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

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

// attributesCall asks for one xattr.
type attributesCall struct {
	*call
	value string
	store func(value string)
}

// askAttributes are the calls that tell what is recorded of an lvol: none if it
// is known already or records nothing. This branch lists no xattr anywhere, so
// each one is a call.
//
// Those of a snapshot never change (they are set when it is made), and its UUID
// is never another's, so they are asked for once. The record of a head may be
// written by others.
func (h *Host) askAttributes(l *domain.Lvol) []*attributesCall {
	if !h.can.records || l.Degraded {
		return nil
	}
	_, image := domain.ImageOfLvolName(l.Name, h.storeUUID)
	if l.ReadOnly {
		h.mu.Lock()
		known, ok := h.recorded[l.UUID]
		h.mu.Unlock()
		if ok && known.asImage == image {
			l.Attributes, l.Image = known.attributes, known.image
			return nil
		}
	}
	var asked []*attributesCall
	ask := func(xattr string, store func(string)) {
		one := &attributesCall{store: store}
		one.call = newCall("bdev_lvol_get_xattr", spdktypes.BdevLvolGetXattrRequest{Name: l.UUID, XattrName: xattr}, &one.value)
		asked = append(asked, one)
	}
	switch {
	case image:
		ask(xattrImageUUID, func(v string) { l.Image.UUID = v })
		ask(xattrImageChecksum, func(v string) { l.Image.Checksum = v })
		ask(xattrImageState, func(v string) {
			if v != imageReady {
				l.Image.Unready = v
			}
		})
	case l.ReadOnly:
		ask(xattrUserCreated, func(v string) { l.Attributes.UserCreated = v == strconv.FormatBool(true) })
		ask(xattrTimestamp, func(v string) {
			if at, err := time.Parse(time.RFC3339, v); err == nil {
				l.Attributes.CreatedAt = at.UTC().Truncate(time.Second)
			}
		})
	case h.isHead(l):
		ask(xattrRecord, func(v string) { l.Record = v })
	}
	return asked
}

// takeAttributes stores the answers. ports.ErrNotFound: the lvol has gone since.
func (h *Host) takeAttributes(l *domain.Lvol, asked []*attributesCall) error {
	for _, one := range asked {
		switch {
		case one.err == nil:
			one.store(one.value)
		case !isMissingXattr(one.err):
			return fmt.Errorf("what is recorded of lvol %s: %w", l.Name, one.err)
		}
	}
	if l.ReadOnly && len(asked) > 0 {
		_, image := domain.ImageOfLvolName(l.Name, h.storeUUID)
		h.remember(l.UUID, recorded{asImage: image, attributes: l.Attributes, image: l.Image})
	}
	return nil
}

// isMissingXattr reports whether the target has said that the lvol has no such key. "No
// such device" says nothing of its keys: the lvol has gone, or its disk is not loaded yet.
func isMissingXattr(err error) bool { return refusedAs(err, syscall.ENOENT) }

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
func (h *Host) readAttributes(ctx context.Context, lvols []domain.Lvol, records map[string]*recordCall) (missing map[string]bool, err error) {
	missing = make(map[string]bool)
	see := func(l *domain.Lvol, err error) error {
		if errors.Is(err, ports.ErrNotFound) {
			missing[l.UUID] = true
			return nil
		}
		return err
	}
	asked := make([][]*attributesCall, len(lvols))
	var calls []*call
	for i := range lvols {
		if told := records[lvols[i].UUID]; told != nil && h.isHead(&lvols[i]) {
			if err := see(&lvols[i], told.take(&lvols[i])); err != nil {
				return nil, err
			}
			continue
		}
		asked[i] = h.askAttributes(&lvols[i])
		for _, one := range asked[i] {
			calls = append(calls, one.call)
		}
	}
	h.rpc.do(ctx, calls...)
	for i := range lvols {
		if err := see(&lvols[i], h.takeAttributes(&lvols[i], asked[i])); err != nil {
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
	if !h.can.records {
		return h.failed(fmt.Errorf("the target keeps no xattrs: %w", ports.ErrUnsupported), "record the backing image of %s", head)
	}
	err := h.setRecord(ctx, head, record)
	return h.failed(err, "record backing image %q of %s", record, head)
}

func (h *Host) setRecord(ctx context.Context, uuid, record string) error {
	return h.change(ctx, "bdev_lvol_set_xattr",
		spdktypes.BdevLvolSetXattrRequest{Name: uuid, XattrName: xattrRecord, XattrValue: record}, nil)
}
