package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/ports"
)

const methodGetLvstores = "bdev_lvol_get_lvstores"

// GetLvstore finds the lvstore of that UUID.
func GetLvstore(uuid string) *CallOf[[]spdktypes.LvstoreInfo] {
	return get[[]spdktypes.LvstoreInfo](methodGetLvstores, spdktypes.BdevLvolGetLvstoreRequest{UUID: uuid})
}

// CreateLvstore makes an lvstore on a bdev. clusterSize is in bytes.
func CreateLvstore(bdev, name string, clusterSize uint32) *Call {
	return change("bdev_lvol_create_lvstore", spdktypes.BdevLvolCreateLvstoreRequest{BdevName: bdev, LvsName: name, ClusterSz: clusterSize})
}

// getLvolsRequest narrows bdev_lvol_get_lvols; go-spdk-helper has no type for it.
type getLvolsRequest struct {
	LvsUUID string `json:"lvs_uuid"`
}

// GetLvols lists the lvols of the lvstore of that UUID.
func GetLvols(lvstore string) *CallOf[[]spdktypes.LvolInfo] {
	return get[[]spdktypes.LvolInfo]("bdev_lvol_get_lvols", getLvolsRequest{LvsUUID: lvstore})
}

// Lvstore is one lvstore of a target.
type Lvstore struct {
	Client      *Client
	Can         Capabilities
	UUID        string
	Name        string
	Base        string // name of the bdev under it
	ClusterSize uint64 // bytes
}

// OpenLvstore asks the target what it can do, and finds the lvstore. The error of
// an lvstore that is not there names those that are.
func OpenLvstore(ctx context.Context, client *Client, name string) (*Lvstore, error) {
	methods := GetMethods()
	stores := get[[]spdktypes.LvstoreInfo](methodGetLvstores, nil)
	all := []Request{methods, stores}
	client.Do(ctx, all...)
	if err := FirstErr(all); err != nil {
		return nil, err
	}
	var names []string
	for _, s := range stores.Result {
		if s.Name == name {
			return &Lvstore{
				Client: client, Can: NewCapabilities(methods.Result),
				UUID: s.UUID, Name: s.Name, Base: s.BaseBdev, ClusterSize: s.ClusterSize,
			}, nil
		}
		names = append(names, s.Name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the target has no lvstore: %w", ports.ErrNotFound)
	}
	return nil, WithKind(ports.ErrNotFound, fmt.Errorf("lvstore %q not found; available: %s", name, strings.Join(names, ", ")))
}

// Failed says what was tried in the lvstore; nil stays nil.
func (s *Lvstore) Failed(err error, what string, args ...any) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ports.ErrNotFound) && !s.isLoaded() {
		err = WithKind(ports.ErrUnavailable, fmt.Errorf("the lvstore is not loaded: %w", err))
	}
	return fmt.Errorf("%s in lvstore %s: %w", fmt.Sprintf(what, args...), s.Name, err)
}

// Explain is Failed of the error that a function returns: it is deferred at its
// beginning.
func (s *Lvstore) Explain(err *error, what string, args ...any) { *err = s.Failed(*err, what, args...) }

// isLoaded reports whether the target lists the lvstore. One that has just
// restarted finds no lvol before its disk is there again, and would seem to have
// lost them all. Asked only where something is missing, and of a target that has
// just answered, it needs no context of the caller's.
func (s *Lvstore) isLoaded() bool {
	ctx, cancel := context.WithTimeout(context.Background(), Grace)
	defer cancel()
	_, err := GetLvstore(s.UUID).Do(ctx, s.Client)
	return err == nil || !IsRefusal(err)
}

// FreeClusters is how many clusters of the lvstore of that UUID are free.
func (c *Client) FreeClusters(ctx context.Context, lvstore string) (uint64, error) {
	stores, err := GetLvstore(lvstore).Do(ctx, c)
	if err == nil && len(stores) != 1 {
		err = fmt.Errorf("lvstore %s is listed %d times: %w", lvstore, len(stores), ports.ErrUnavailable)
	}
	if err != nil {
		return 0, err
	}
	return stores[0].FreeClusters, nil
}

// IsFull reports whether the target says that no cluster of the lvstore is free.
func (c *Client) IsFull(ctx context.Context, lvstore string) bool {
	free, err := c.FreeClusters(ctx, lvstore)
	return err == nil && free == 0
}

// Alias is what the bdev of the lvol of that name is called as well.
func (s *Lvstore) Alias(name string) string { return spdktypes.GetLvolAlias(s.Name, name) }

// Find looks at one lvol, by its UUID or its alias.
func (s *Lvstore) Find(ctx context.Context, uuid string) (*Bdev, error) {
	look := GetBdev(uuid)
	s.Client.Do(ctx, look)
	return s.Found(look, uuid)
}

// FindBoth looks at two lvols in one write.
func (s *Lvstore) FindBoth(ctx context.Context, one, other string) (*Bdev, *Bdev, error) {
	a, b := GetBdev(one), GetBdev(other)
	s.Client.Do(ctx, a, b)
	x, err := s.Found(a, one)
	if err != nil {
		return nil, nil, err
	}
	y, err := s.Found(b, other)
	return x, y, err
}

// Found is the lvol that a GetBdev has found. ports.ErrNotFound: none of this
// lvstore.
func (s *Lvstore) Found(look *CallOf[[]Bdev], uuid string) (*Bdev, error) {
	if look.Err != nil {
		if errors.Is(look.Err, ports.ErrNotFound) {
			return nil, fmt.Errorf("lvol %s: %w", uuid, look.Err)
		}
		return nil, look.Err
	}
	for i := range look.Result {
		if b := &look.Result[i]; s.Has(b) {
			if err := b.RequireOwn(); err != nil {
				return nil, err
			}
			return b, nil
		}
	}
	return nil, fmt.Errorf("%s is no lvol of lvstore %s: %w", uuid, s.Name, ports.ErrNotFound)
}

// Has reports whether a bdev is an lvol of the lvstore.
func (s *Lvstore) Has(b *Bdev) bool {
	return b.Driver.Lvol != nil && b.Driver.Lvol.LvolStoreUUID == s.UUID
}
