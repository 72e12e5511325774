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

// Names of xattrs: Longhorn's own on snapshots and images, so that it can read them, and
// one of ours on heads.
const (
	xattrUserCreated   = "user_created"
	xattrTimestamp     = "snapshot_timestamp"
	xattrImageChecksum = "longhorn_backing_image_checksum"
	xattrImageUUID     = "longhorn_backing_image_uuid"
	xattrImageState    = "longhorn_backing_image_prepare_state"
	xattrRecord        = "rebuild_backing_image"
)

// imageReady is the state of a backing image that is whole.
const imageReady = "ready"

// Record implements ports.Recorder.
func (h *Host) Record(ctx context.Context, head, record string) error {
	if !h.store.Can.Records {
		return h.store.Failed(fmt.Errorf("the target keeps no xattrs: %w", ports.ErrUnsupported), "record the backing image of %s", head)
	}
	return h.store.Failed(h.lvols.setRecord(ctx, head, record), "record backing image %q of %s", record, head)
}

func (l *lvols) setRecord(ctx context.Context, head, record string) error {
	return rpc.SetXattr(head, xattrRecord, record).Do(ctx, l.Client)
}

// record is what is recorded of a snapshot, as one of a replica or as an image.
type record struct {
	asImage    bool
	attributes domain.Attributes
	image      domain.ImageRecord
}

func recordOf(seal ports.SealRecord) record {
	if seal.Image != nil {
		return record{asImage: true, image: *seal.Image}
	}
	r := record{attributes: seal.Attributes}
	r.attributes.CreatedAt = r.attributes.CreatedAt.UTC().Truncate(time.Second)
	return r
}

// xattrs leave out what is not known. Without attributes there are none, as on the entry
// points that Longhorn makes.
func (r record) xattrs() map[string]string {
	if !r.asImage {
		if !r.attributes.UserCreated && r.attributes.CreatedAt.IsZero() {
			return nil
		}
		xattrs := map[string]string{xattrUserCreated: strconv.FormatBool(r.attributes.UserCreated)}
		if !r.attributes.CreatedAt.IsZero() {
			xattrs[xattrTimestamp] = r.attributes.CreatedAt.UTC().Format(time.RFC3339)
		}
		return xattrs
	}
	xattrs := map[string]string{xattrImageState: imageReady}
	if r.image.UUID != "" {
		xattrs[xattrImageUUID] = r.image.UUID
	}
	if r.image.Checksum != "" {
		xattrs[xattrImageChecksum] = r.image.Checksum
	}
	return xattrs
}

// xattr is one that may be recorded of an lvol, and where its value goes.
type xattr struct {
	key   string
	store func(l *domain.Lvol, value string)
}

var (
	xattrsOfImage = []xattr{
		{xattrImageUUID, func(l *domain.Lvol, v string) { l.Image.UUID = v }},
		{xattrImageChecksum, func(l *domain.Lvol, v string) { l.Image.Checksum = v }},
		{xattrImageState, func(l *domain.Lvol, v string) {
			if v != imageReady {
				l.Image.Unready = v
			}
		}},
	}
	xattrsOfSnapshot = []xattr{
		{xattrUserCreated, func(l *domain.Lvol, v string) { l.Attributes.UserCreated = v == strconv.FormatBool(true) }},
		{xattrTimestamp, func(l *domain.Lvol, v string) {
			if at, err := time.Parse(time.RFC3339, v); err == nil {
				l.Attributes.CreatedAt = at.UTC().Truncate(time.Second)
			}
		}},
	}
	xattrsOfHead = []xattr{{xattrRecord, func(l *domain.Lvol, v string) { l.Record = v }}}
)

// xattrCall asks for one xattr of an lvol.
type xattrCall struct {
	*rpc.CallOf[string]
	xattr
}

func askXattrs(uuid string, xattrs []xattr) []*xattrCall {
	asked := make([]*xattrCall, len(xattrs))
	for i, one := range xattrs {
		asked[i] = &xattrCall{rpc.GetXattr(uuid, one.key), one}
	}
	return asked
}

// isHead reports whether an lvol may have a head's record: one in flight has none yet,
// and one with an image's name has the records of an image.
func (v *view) isHead(l *domain.Lvol) bool {
	_, image := domain.ImageOfLvolName(l.Name, v.store.UUID)
	_, inFlight := domain.ReplicaInFlight(l.Name)
	return !l.ReadOnly && !l.Degraded && !image && !inFlight
}

// askRecorded returns the calls that read what is recorded of an lvol: none if it is
// known already or nothing is. No listing shows xattrs, so each one is a call.
//
// The xattrs of a snapshot are set when it is made and never change, so they are read
// once. Others may write the record of a head.
func (v *view) askRecorded(l *domain.Lvol) []*xattrCall {
	if !v.store.Can.Records || l.Degraded {
		return nil
	}
	_, image := domain.ImageOfLvolName(l.Name, v.store.UUID)
	if l.ReadOnly {
		if known, ok := v.records.Find(l.UUID); ok && known.asImage == image {
			l.Attributes, l.Image = known.attributes, known.image
			return nil
		}
	}
	switch {
	case image:
		return askXattrs(l.UUID, xattrsOfImage)
	case l.ReadOnly:
		return askXattrs(l.UUID, xattrsOfSnapshot)
	case v.isHead(l):
		return askXattrs(l.UUID, xattrsOfHead)
	}
	return nil
}

// takeRecorded stores the answers. ports.ErrNotFound: the lvol has gone, or its disk is
// not loaded yet.
func (v *view) takeRecorded(l *domain.Lvol, asked []*xattrCall) error {
	for _, one := range asked {
		switch {
		case one.Err == nil:
			one.store(l, one.Result)
		case !rpc.RefusedAs(one.Err, syscall.ENOENT): // else it has no such key
			return fmt.Errorf("what is recorded of lvol %s: %w", l.Name, one.Err)
		}
	}
	if l.ReadOnly && len(asked) > 0 {
		_, image := domain.ImageOfLvolName(l.Name, v.store.UUID)
		v.records.Set(l.UUID, record{asImage: image, attributes: l.Attributes, image: l.Image})
	}
	return nil
}

// readRecorded reads what is recorded of the lvols, other than the records that were
// asked for with the listing. The calls share writes. missing are the UUIDs of lvols that
// the target does not find.
func (v *view) readRecorded(ctx context.Context, lvols []domain.Lvol, told map[string][]*xattrCall) (missing map[string]bool, err error) {
	asked := make([][]*xattrCall, len(lvols))
	var calls []rpc.Request
	for i := range lvols {
		if record, is := told[lvols[i].UUID]; is && v.isHead(&lvols[i]) {
			asked[i] = record
			continue
		}
		asked[i] = v.askRecorded(&lvols[i])
		calls = append(calls, rpc.Requests(asked[i])...)
	}
	v.store.Client.Do(ctx, calls...)
	missing = make(map[string]bool)
	for i := range lvols {
		err := v.takeRecorded(&lvols[i], asked[i])
		if errors.Is(err, ports.ErrNotFound) {
			missing[lvols[i].UUID] = true
		} else if err != nil {
			return nil, err
		}
	}
	return missing, nil
}
