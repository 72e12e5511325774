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

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// checksumsAtOnce is how many snapshots are read at a time. Each is read one cluster
// after the other, so a few keep a disk busy.
const checksumsAtOnce = 8

// slowestRead is the rate at which a checksum is waited for, in bytes a second.
const slowestRead = 32 << 20

// proof is the map and the checksum of one snapshot.
type proof struct {
	uuid     string
	fragmap  *rpc.CallOf[spdktypes.BdevLvolFragmap]
	checksum *rpc.CallOf[spdktypes.BdevLvolSnapshotChecksum]
}

func newProof(uuid string) *proof {
	return &proof{uuid: uuid, fragmap: rpc.GetFragmap(uuid, 0, 0), checksum: rpc.GetChecksum(uuid)}
}

// Prove implements ports.Prover. Snapshots that have checksums take one write for all.
// SPDK's checksum is a CRC-64 over the own clusters without their positions, so it proves
// only together with the map.
func (h *Host) Prove(ctx context.Context, snapshots []string) (map[string]domain.Clusters, error) {
	proven, err := h.prove(ctx, snapshots, h.lvols.register)
	return proven, h.store.Failed(err, "prove %d snapshots", len(snapshots))
}

// ProveKnown implements ports.KnownProver.
func (h *Host) ProveKnown(ctx context.Context, snapshots []string) (map[string]domain.Clusters, error) {
	leaveOut := func(context.Context, []*proof) error { return nil }
	proven, err := h.prove(ctx, snapshots, leaveOut)
	return proven, h.store.Failed(err, "tell what proves %d snapshots", len(snapshots))
}

// prove hands proofs without a checksum to others.
func (h *Host) prove(ctx context.Context, snapshots []string, others func(context.Context, []*proof) error) (map[string]domain.Clusters, error) {
	if !h.store.Can.Proves {
		return nil, fmt.Errorf("the target tells neither maps nor checksums: %w", ports.ErrUnsupported)
	}
	var calls []rpc.Request
	proofs := make([]*proof, len(snapshots))
	for i, uuid := range snapshots {
		proofs[i] = newProof(uuid)
		calls = append(calls, proofs[i].fragmap, proofs[i].checksum)
	}
	h.store.Client.Do(ctx, calls...)

	var missing []*proof
	for _, p := range proofs {
		switch {
		case errors.Is(p.fragmap.Err, ports.ErrNotFound): // gone
		case p.fragmap.Err != nil:
			return nil, p.fragmap.Err
		case p.checksum.Err != nil && !rpc.IsRefusal(p.checksum.Err):
			return nil, p.checksum.Err
		case p.checksum.Err != nil: // "No such device" is said of a checksum that is not there, too
			missing = append(missing, p)
		}
	}
	if err := others(ctx, missing); err != nil {
		return nil, err
	}
	proven := make(map[string]domain.Clusters, len(proofs))
	for _, p := range proofs {
		if p.fragmap.Err != nil || p.checksum.Err != nil {
			continue
		}
		bitmap, err := p.bitmap()
		if err != nil {
			return nil, err
		}
		proven[p.uuid] = domain.Clusters{
			Count:    p.fragmap.Result.NumAllocatedClusters,
			Map:      bitmap,
			Checksum: strconv.FormatUint(p.checksum.Result.Checksum, 10),
		}
	}
	return proven, nil
}

// register has checksums computed, and reads them. It wakes snapshots that are asleep.
// A writable lvol stays without one.
func (l *lvols) register(ctx context.Context, missing []*proof) error {
	left := missing
	for attempt := 0; attempt < 2 && len(left) > 0; attempt++ {
		registers := make([]*rpc.Call, len(left))
		for i, p := range left {
			fragmap := p.fragmap.Result
			patience := time.Duration(fragmap.NumAllocatedClusters*fragmap.ClusterSize/slowestRead) * time.Second * checksumsAtOnce
			registers[i] = rpc.RegisterChecksum(p.uuid, patience)
		}
		l.Client.DoAtMost(ctx, checksumsAtOnce, rpc.Requests(registers)...)
		var again []*proof
		for i, p := range left {
			err := registers[i].Err
			switch {
			case err == nil, errors.Is(err, ports.ErrNotFound):
			case rpc.RefusedAs(err, syscall.EPERM): // "must be a snapshot"
				woken, err := l.wakeLeaf(ctx, p.uuid)
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
	calls := make([]rpc.Request, len(missing))
	for i, p := range missing {
		p.checksum = rpc.GetChecksum(p.uuid)
		calls[i] = p.checksum
	}
	l.Client.Do(ctx, calls...)
	for _, p := range missing {
		if err := p.checksum.Err; err != nil && !rpc.IsRefusal(err) {
			return err
		}
	}
	return nil
}

// wakeLeaf wakes a snapshot that is asleep, and reports whether it was one.
func (l *lvols) wakeLeaf(ctx context.Context, uuid string) (woken bool, err error) {
	unlock, err := l.lock(ctx, uuid)
	if err != nil {
		return false, err
	}
	defer unlock()
	l.sweep(ctx)
	b, err := l.Find(ctx, uuid)
	if errors.Is(err, ports.ErrNotFound) || err == nil && !b.Asleep() {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, l.wake(ctx, uuid, l.helperName(b.LvolName(), b.Driver.Lvol.BaseSnapshot))
}

// bitmap is the map in a form that is equal for equal positions: a digest of
// the number of clusters and of a bit for each, the lowest first.
func (p *proof) bitmap() (string, error) {
	fragmap := p.fragmap.Result
	set, err := base64.StdEncoding.DecodeString(fragmap.Fragmap)
	if err != nil {
		return "", fmt.Errorf("the map of lvol %s: %w: %w", p.uuid, err, ports.ErrUnavailable)
	}
	length, own := fragmap.NumClusters, uint64(0)
	whole := make([]byte, (length+7)/8)
	copy(whole, set)
	if spare := length % 8; spare != 0 {
		whole[len(whole)-1] &= 1<<spare - 1
	}
	for _, b := range whole {
		own += uint64(bits.OnesCount8(b))
	}
	if own != fragmap.NumAllocatedClusters {
		return "", fmt.Errorf("the map of lvol %s has %d clusters, but the target says %d: %w", p.uuid, own, fragmap.NumAllocatedClusters, ports.ErrUnavailable)
	}
	digest := sha256.New()
	_, _ = digest.Write(binary.LittleEndian.AppendUint64(nil, length))
	_, _ = digest.Write(whole)
	return hex.EncodeToString(digest.Sum(nil)), nil
}
