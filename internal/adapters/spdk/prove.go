package spdk

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"syscall"
	"time"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// checksumsAtOnce are how many snapshots are read at a time: each is read one
// cluster after the other, so a few keep a disk busy, and more would only
// starve others.
const checksumsAtOnce = 8

// slowestRead is what a checksum is waited for: bytes a second.
const slowestRead = 32 << 20

// proof is what is asked of one snapshot.
type proof struct {
	uuid     string
	fragmap  spdktypes.BdevLvolFragmap
	checksum spdktypes.BdevLvolSnapshotChecksum // a uint64: through a float it would lose digits

	getMap, get *call
}

func newProof(uuid string) *proof {
	p := &proof{uuid: uuid}
	// Size 0 is the whole lvol (vbdev_lvol_get_fragmap).
	p.getMap = newCall("bdev_lvol_get_fragmap", spdktypes.BdevLvolGetFragmapRequest{Name: uuid}, &p.fragmap)
	p.askAgain()
	return p
}

func (p *proof) askAgain() {
	p.get = newCall("bdev_lvol_get_snapshot_checksum", spdktypes.BdevLvolGetSnapshotChecksumRequest{Name: p.uuid}, &p.checksum)
}

// Prove implements ports.Prover. What has a checksum takes one write for all.
// SPDK's checksum is a CRC-64 over the own clusters without their positions, so
// it proves only together with the map.
func (h *Host) Prove(ctx context.Context, snapshots []string) (map[string]domain.Clusters, error) {
	proven, err := h.prove(ctx, snapshots, h.register)
	return proven, h.failed(err, "prove %d snapshots", len(snapshots))
}

// ProveKnown implements ports.KnownProver.
func (h *Host) ProveKnown(ctx context.Context, snapshots []string) (map[string]domain.Clusters, error) {
	leaveOut := func(context.Context, []*proof) error { return nil }
	proven, err := h.prove(ctx, snapshots, leaveOut)
	return proven, h.failed(err, "tell what proves %d snapshots", len(snapshots))
}

// prove has what has no checksum dealt with by others.
func (h *Host) prove(ctx context.Context, snapshots []string, others func(context.Context, []*proof) error) (map[string]domain.Clusters, error) {
	if !h.can.proves {
		return nil, fmt.Errorf("the target tells neither maps nor checksums: %w", ports.ErrUnsupported)
	}
	var calls []*call
	proofs := make([]*proof, len(snapshots))
	for i, uuid := range snapshots {
		proofs[i] = newProof(uuid)
		calls = append(calls, proofs[i].getMap, proofs[i].get)
	}
	h.rpc.do(ctx, calls...)

	var missing []*proof
	for _, p := range proofs {
		switch {
		case errors.Is(p.getMap.err, ports.ErrNotFound): // gone
		case p.getMap.err != nil:
			return nil, p.getMap.err
		case p.get.err != nil && !refused(p.get.err):
			return nil, p.get.err
		case p.get.err != nil: // "No such device" is said of a checksum that is not there, too
			missing = append(missing, p)
		}
	}
	if err := others(ctx, missing); err != nil {
		return nil, err
	}
	proven := make(map[string]domain.Clusters, len(proofs))
	for _, p := range proofs {
		if p.getMap.err != nil || p.get.err != nil {
			continue
		}
		bitmap, err := p.bitmap()
		if err != nil {
			return nil, err
		}
		proven[p.uuid] = domain.Clusters{
			Count:    p.fragmap.NumAllocatedClusters,
			Map:      bitmap,
			Checksum: strconv.FormatUint(p.checksum.Checksum, 10),
		}
	}
	return proven, nil
}

// register has checksums computed, and asks for them again. What is asleep is
// woken first; what is writable stays without one.
func (h *Host) register(ctx context.Context, missing []*proof) error {
	left := missing
	for attempt := 0; attempt < 2 && len(left) > 0; attempt++ {
		registers := make([]*call, len(left))
		for i, p := range left {
			registers[i] = newCall("bdev_lvol_register_snapshot_checksum", spdktypes.BdevLvolRegisterSnapshotChecksumRequest{Name: p.uuid}, nil)
			registers[i].patient = time.Duration(p.fragmap.NumAllocatedClusters*p.fragmap.ClusterSize/slowestRead) * time.Second * checksumsAtOnce
		}
		h.rpc.doAtMost(ctx, checksumsAtOnce, registers...)
		var again []*proof
		for i, p := range left {
			err := registers[i].err
			switch {
			case err == nil, errors.Is(err, ports.ErrNotFound):
			case refusedAs(err, syscall.EPERM): // "must be a snapshot"
				woken, err := h.wakeLeaf(ctx, p.uuid)
				if err != nil {
					return err
				}
				if woken {
					again = append(again, p)
				}
			default: // busy among them: the caller asks again
				return err
			}
		}
		left = again
	}
	calls := make([]*call, len(missing))
	for i, p := range missing {
		p.askAgain()
		calls[i] = p.get
	}
	h.rpc.do(ctx, calls...)
	for _, one := range calls {
		if one.err != nil && !refused(one.err) {
			return one.err
		}
	}
	return nil
}

// wakeLeaf wakes a snapshot that is asleep, and reports whether it was one.
func (h *Host) wakeLeaf(ctx context.Context, uuid string) (woken bool, err error) {
	unlock, err := h.locks.take(ctx, "lvol "+uuid)
	if err != nil {
		return false, err
	}
	defer unlock()
	h.sweep(ctx)
	b, err := h.find(ctx, uuid)
	if errors.Is(err, ports.ErrNotFound) || err == nil && !b.asleep() {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, h.wake(ctx, uuid, h.helperName(b.name(), b.Driver.Lvol.BaseSnapshot))
}

// refused reports whether the target has answered, if with a no.
func refused(err error) bool {
	var refusal *rpcError
	return errors.As(err, &refusal)
}

// bitmap is the map in a form that is equal for equal positions: a digest of
// the number of clusters and of a bit for each, the lowest first.
func (p *proof) bitmap() (string, error) {
	set, err := base64.StdEncoding.DecodeString(p.fragmap.Fragmap)
	if err != nil {
		return "", fmt.Errorf("the map of lvol %s: %w: %w", p.uuid, err, ports.ErrUnavailable)
	}
	length, own := p.fragmap.NumClusters, uint64(0)
	whole := make([]byte, (length+7)/8)
	copy(whole, set)
	if spare := length % 8; spare != 0 {
		whole[len(whole)-1] &= 1<<spare - 1
	}
	for _, b := range whole {
		own += uint64(bits.OnesCount8(b))
	}
	if own != p.fragmap.NumAllocatedClusters {
		return "", fmt.Errorf("the map of lvol %s has %d clusters, but the target says %d: %w", p.uuid, own, p.fragmap.NumAllocatedClusters, ports.ErrUnavailable)
	}
	digest := sha256.New()
	_, _ = digest.Write(binary.LittleEndian.AppendUint64(nil, length))
	_, _ = digest.Write(whole)
	return hex.EncodeToString(digest.Sum(nil)), nil
}
