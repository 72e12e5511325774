package app

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// PlanImageRemoval returns the image that DeleteImage would delete, or its refusal.
func (e *Engine) PlanImageRemoval(ctx context.Context, host ports.Host, name string) (domain.ImageOnStore, error) {
	_, image, err := imageToDelete(ctx, guard.Wrap(host), name)
	return image, err
}

// DeleteImage deletes a backing image that nothing uses or records.
func (e *Engine) DeleteImage(ctx context.Context, on ports.Host, name string) (domain.ImageOnStore, error) {
	host := guard.Wrap(on)
	image, err := e.deleteImage(ctx, host, name)
	if err != nil && !errors.Is(err, ErrRefused) {
		err = fmt.Errorf("delete backing image %s: %w", name, err)
	}
	e.log.Info("delete image", zap.String("image", name), zap.String("lvol", image.Lvol.UUID), zap.Error(err))
	return image, err
}

func imageToDelete(ctx context.Context, host *guard.Host, name string) (domain.Listing, domain.ImageOnStore, error) {
	if err := checkChangeable(host); err != nil {
		return domain.Listing{}, domain.ImageOnStore{}, err
	}
	if err := domain.CheckImageName(name); err != nil {
		return domain.Listing{}, domain.ImageOnStore{}, &refusal{err}
	}
	store, err := host.List(ctx)
	if err != nil {
		return store, domain.ImageOnStore{}, fmt.Errorf("list the host: %w", err)
	}
	image, err := domain.CheckImageRemoval(store, name)
	return store, image, refused(err)
}

func (e *Engine) deleteImage(ctx context.Context, host *guard.Host, name string) (domain.ImageOnStore, error) {
	store, image, err := imageToDelete(ctx, host, name)
	if err != nil {
		return image, err
	}
	release, ok := e.locks.Try("image " + store.UUID + "/" + name)
	if !ok {
		return image, refusef("backing image %s is being imported or fetched to lvstore %s", name, store.Name)
	}
	defer release()
	run := ports.Run{Replica: domain.ImageRunName(name), Store: store.UUID, ID: executor.NewID()}
	free, err := e.leaseImageRun(ctx, host, newImageRun(run, name, store), "the deletion")
	if err != nil {
		return image, err
	}
	defer free()
	use, err := e.leaseImageUse(ctx, host, store, name, ports.Lease{Holder: "the deletion of backing image " + name})
	if err != nil {
		return image, err
	}
	defer use()
	unlock, err := e.lockLvol(ctx, store, image.Lvol.UUID) // no rebuild grafts onto it, or copies from it, meanwhile
	if err != nil {
		return image, err
	}
	defer unlock()
	if err := closeOpened(ctx, host, run); err != nil {
		return image, fmt.Errorf("close exports of earlier runs: %w", err)
	}
	found := image.Lvol.UUID
	if _, image, err = imageToDelete(ctx, host, name); err != nil { // it may have changed during the wait
		return image, err
	}
	if image.Lvol.UUID != found {
		return image, fmt.Errorf("lvol %s was replaced meanwhile: %w", image.Lvol.Name, ports.ErrBusy)
	}
	err = host.Delete(ctx, found)
	if err == nil {
		return image, nil
	}
	if _, gone := host.Look(ctx, found); errors.Is(gone, ports.ErrNotFound) { // only the answer was lost
		return image, nil
	}
	return image, err
}
