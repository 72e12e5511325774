package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/rootgraft/rebuild"
)

const clusterSize = 4096

// The interfaces of the engine that a host implements.
var (
	_ rebuild.Host     = (*host)(nil)
	_ rebuild.Prover   = (*host)(nil)
	_ rebuild.Recorder = (*host)(nil)
	_ rebuild.Renamer  = (*host)(nil)
)

// rack connects hosts. One mutex for all of them keeps this example simple.
type rack struct {
	mu       sync.Mutex
	received map[rebuild.Address]*reception
	opened   int // number of receptions so far
}

func newRack() *rack { return &rack{received: make(map[rebuild.Address]*reception)} }

// host is a store of lvols.
type host struct {
	*rack
	uuid, name string
	clusters   uint64
	lvols      map[string]*lvol // by UUID
}

// lvol is an lvol as it is listed, and its own clusters by position.
type lvol struct {
	rebuild.Lvol
	own map[uint64][]byte // the slices are immutable: lvols share them
}

func (r *rack) newHost(name string, clusters uint64) *host {
	return &host{rack: r, uuid: rand.Text(), name: name, clusters: clusters, lvols: make(map[string]*lvol)}
}

// do runs a call: one at a time, and none after its context has ended.
func (h *host) do(ctx context.Context, call func() error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("host %s: %w: %w", h.name, rebuild.ErrUnavailable, err)
	}
	return call()
}

// List implements rebuild.Looker.
func (h *host) List(ctx context.Context) (listing rebuild.Listing, err error) {
	err = h.do(ctx, func() error {
		listing = rebuild.Listing{
			UUID: h.uuid, Name: h.name,
			ClusterSize: clusterSize, BlockSize: 512,
			TotalClusters: h.clusters, FreeClusters: h.free(),
			Proves: true, Records: true, RenamesSnapshots: true,
		}
		for _, l := range h.lvols {
			listing.Lvols = append(listing.Lvols, l.listed())
		}
		return nil
	})
	return listing, err
}

// Look implements rebuild.Looker.
func (h *host) Look(ctx context.Context, uuid string) (listed rebuild.Lvol, err error) {
	err = h.do(ctx, func() error {
		l, err := h.find(uuid)
		if err == nil {
			listed = l.listed()
		}
		return err
	})
	return listed, err
}

func (l *lvol) listed() rebuild.Lvol {
	listed := l.Lvol
	listed.Own.Count = uint64(len(l.own))
	return listed
}

func (h *host) find(uuid string) (*lvol, error) {
	l, ok := h.lvols[uuid]
	if !ok {
		return nil, fmt.Errorf("lvol %s on host %s: %w", uuid, h.name, rebuild.ErrNotFound)
	}
	return l, nil
}

// findSnapshot finds an lvol that may be a parent or be copied.
func (h *host) findSnapshot(uuid string) (*lvol, error) {
	l, err := h.find(uuid)
	if err == nil && !l.ReadOnly {
		err = fmt.Errorf("lvol %s on host %s is writable: %w", l.Name, h.name, rebuild.ErrInvalid)
	}
	return l, err
}

func (h *host) findWritable(uuid string) (*lvol, error) {
	l, err := h.find(uuid)
	if err == nil && l.ReadOnly {
		err = fmt.Errorf("lvol %s on host %s is a snapshot: %w", l.Name, h.name, rebuild.ErrInvalid)
	}
	return l, err
}

func (h *host) free() uint64 {
	free := h.clusters
	for _, l := range h.lvols {
		free -= uint64(len(l.own))
	}
	return free
}
