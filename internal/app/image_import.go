package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/randid"
)

// ImageRequest is the argument of Engine.ImportImage.
type ImageRequest struct {
	Host ports.Host
	Name string
	// UUID of the image, the same on every host; "": a new one.
	UUID string

	// Content is the image as a guest sees it, Size bytes long. It is read from beginning
	// to end: once, or twice if its SHA-512 or the space that it takes must be known
	// before the import. If Content is Sparse, zeros are not read.
	Content io.ReaderAt
	Size    uint64

	// SHA512 is the expected SHA-512 of the content in hex digits; "": any.
	SHA512 string

	// NoChecksum neither computes nor records the SHA-512 of the content. Zeros take time
	// to hash, too.
	NoChecksum bool

	ReservePercent float64  // percentage of the store's clusters that stays free
	Observer       Observer // may be nil
}

// ImageReport is the result of an import. After a failure it has everything known up to
// then.
type ImageReport struct {
	Outcome      Outcome
	Name         string
	UUID         string      // of the image
	SHA512       string      // of the content, in hex digits; "": not computed
	Bytes        uint64      // of the content
	Size         uint64      // of the lvol: whole clusters
	WrittenBytes uint64      // in whole clusters: those that are not all zero
	Recorded     bool        // the host records UUID and checksum
	Lvol         domain.Lvol // the image
	Duration     time.Duration
}

// imageWriters is the number of clusters that are written at once. Reading and hashing go
// on meanwhile.
const imageWriters = 4

// ImportImage makes a backing image on a host from the request's content.
func (e *Engine) ImportImage(ctx context.Context, request ImageRequest) (ImageReport, error) {
	began := time.Now()
	i := &imageImport{engine: e, request: request, host: guard.Wrap(request.Host), progress: newProgress(request.Observer)}
	i.run = ports.Run{Replica: domain.ImageRunName(request.Name), ID: executor.NewID()}
	i.report = ImageReport{Name: request.Name, UUID: request.UUID, Bytes: request.Size}
	if i.report.UUID == "" {
		i.report.UUID = randid.UUID()
	}
	err := i.all(ctx)
	i.report.Duration = time.Since(began)
	i.report.Outcome, err = ended("import backing image "+request.Name, err, i.changed)
	e.log.Info("import image", zap.String("image", request.Name), zap.String("run", i.run.ID),
		zap.String("outcome", string(i.report.Outcome)), zap.Uint64("writtenBytes", i.report.WrittenBytes), zap.Error(err))
	return i.report, err
}

// imageImport is one import.
type imageImport struct {
	engine   *Engine
	request  ImageRequest
	host     *guard.Host
	run      ports.Run
	progress *progress
	report   ImageReport
	changed  bool

	store    domain.Listing
	surveyed bool         // the content was read before the import
	clusters uint64       // with data: as surveyed, later as written
	inFlight string       // name, "" before it is drawn
	free     func()       // releases the lease of that name
	reserved *reservation // nil: not yet
}

func (i *imageImport) all(ctx context.Context) error {
	if i.host == nil || i.request.Content == nil {
		return refusef("no host or no content")
	}
	if err := checkChangeable(i.host); err != nil {
		return err
	}
	opener, ok := ports.As[ports.Opener](i.host)
	if !ok {
		return refusef("this host cannot open lvols, so no image can be written to it")
	}
	if i.request.SHA512 != "" {
		sum, err := domain.CheckSHA512(i.request.SHA512)
		if err != nil {
			return &refusal{err}
		}
		i.request.SHA512 = sum
		if i.request.NoChecksum {
			return refusef("image %s cannot be compared with a SHA-512 without computing its own", i.request.Name)
		}
	}
	if err := i.check(ctx, 0, false); err != nil {
		return err
	}
	i.run.Store = i.store.UUID
	release, ok := i.engine.locks.Try("image " + i.store.UUID + "/" + i.request.Name)
	if !ok {
		return refusef("backing image %s is already being imported or fetched to lvstore %s", i.request.Name, i.store.Name)
	}
	defer release()
	free, err := i.engine.leaseImageRun(ctx, i.host, newImageRun(i.run, i.request.Name, i.store), "the import")
	if err != nil {
		return err
	}
	defer free()
	if err := i.ready(ctx); err != nil {
		return err
	}
	defer i.engine.space.release(i.reserved)
	i.changed = true
	err = i.carryOut(ctx, opener)
	return errors.Join(err, i.cleanUp(ctx, err != nil))
}

// ready refuses an import that cannot succeed. It reads the content if a SHA-512 is
// expected, or if the store has no space for all of it that may hold data.
func (i *imageImport) ready(ctx context.Context) error {
	most, err := i.content().maxDataClusters(ctx)
	if err != nil {
		return err
	}
	want := i.request.SHA512
	if want == "" {
		if err := i.check(ctx, most, true); !errors.Is(err, ErrRefused) {
			return err
		}
	}
	if err := i.survey(ctx); err != nil {
		return err
	}
	if want != "" && want != i.report.SHA512 {
		return refusef("image %s has the SHA-512 %s, expected %s", i.request.Name, i.report.SHA512, want)
	}
	return i.check(ctx, i.clusters, true) // reading took its time
}

func (i *imageImport) content() *content {
	return newContent(i.request.Content, i.request.Size, i.store.ClusterSize)
}

// pieces calls use for each piece of the content.
func (i *imageImport) pieces(ctx context.Context, use func(piece) error) error {
	if err := i.content().pieces(ctx, use); err != nil {
		return fmt.Errorf("read the image: %w", err)
	}
	return nil
}

// check refuses an import that the store cannot take. With reserve it reserves the space.
func (i *imageImport) check(ctx context.Context, clusters uint64, reserve bool) (err error) {
	before := i.engine.space.filled()
	store, err := i.host.List(ctx)
	if err != nil {
		return fmt.Errorf("list the host: %w", err)
	}
	i.store = store
	i.report.Recorded = i.store.Records
	i.report.Size = i.store.Clusters(i.request.Size) * i.store.ClusterSize
	name := domain.ImageLvolName(i.request.Name, i.store.UUID)
	for {
		demand, shared, version := i.engine.space.demand(i.store, before, nil, name)
		store := i.store
		store.FreeClusters += shared
		err := domain.CheckImageImport(store, domain.ImageImport{
			Name: i.request.Name, UUID: i.report.UUID, Size: i.request.Size, Clusters: clusters, Reserve: i.request.ReservePercent, Taken: demand,
		})
		if err != nil || !reserve {
			return refused(err)
		}
		reserve, err := domain.Reserve(i.store, i.request.ReservePercent)
		if err != nil {
			return refused(err)
		}
		i.reserved = &reservation{store: i.store.UUID, reserve: reserve, lvols: []*reservedLvol{{image: name, clusters: clusters}}}
		if i.engine.space.reserve(i.reserved, nil, version) {
			return nil
		}
	}
}

func (i *imageImport) updateReserved(change func(*reservedLvol)) {
	i.engine.space.update(i.reserved, domain.Ref{}, change)
}

// survey reads the content for its checksum and counts the clusters to be written.
func (i *imageImport) survey(ctx context.Context) error {
	sum := i.newSum()
	i.progress.beginReadingBytes(i.request.Size)
	err := i.pieces(ctx, func(next piece) error {
		if next.data != nil && !allZero(next.data) {
			i.clusters++
		}
		return sum.add(ctx, next, i.progress.read)
	})
	i.report.SHA512, i.surveyed = sum.hex(), err == nil
	return err
}

func (i *imageImport) carryOut(ctx context.Context, opener ports.Opener) error {
	host := i.host
	if err := host.Release(ctx, i.run); err != nil {
		return fmt.Errorf("close exports of earlier runs: %w", err)
	}
	uuid, err := i.create(ctx)
	if err != nil {
		return err
	}
	i.updateReserved(func(p *reservedLvol) { p.created(uuid) })
	err = i.engine.space.whileSpaceLasts(ctx, host, i.reserved, func(ctx context.Context) error { return i.fill(ctx, opener, uuid) })
	if err != nil {
		return err
	}
	i.updateReserved(func(p *reservedLvol) { p.filled = p.clusters })
	now, err := host.Look(ctx, uuid)
	if err != nil {
		return err
	}
	if now.Size != i.report.Size || now.Own.Count != i.clusters || now.Parent != "" {
		return fmt.Errorf("lvol %s has %d clusters and %d bytes, expected %d and %d: something else has changed it: %w",
			now.Name, now.Own.Count, now.Size, i.clusters, i.report.Size, ports.ErrCorrupt)
	}
	record := &domain.ImageRecord{UUID: i.report.UUID, Checksum: i.report.SHA512}
	var sealed string
	err = retry.Busy.Call(ctx, func() (err error) {
		sealed, err = host.Seal(ctx, uuid, domain.ImageLvolName(i.request.Name, i.store.UUID), ports.SealRecord{Image: record})
		return err
	})
	if err != nil {
		return err
	}
	i.report.Lvol, err = host.Look(ctx, sealed)
	return err
}

// cleanUp leaves nothing in flight, also after ctx has ended.
func (i *imageImport) cleanUp(ctx context.Context, failed bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), executor.CleanUpTime)
	defer cancel()
	if i.free != nil {
		defer i.free()
	}
	problems := []error{executor.End(ctx, i.host, i.run)}
	if failed && i.inFlight != "" {
		problems = append(problems, executor.DeleteAll(ctx, i.host, func(l domain.Lvol) bool { return l.Name == i.inFlight }))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w: %w", ErrCleanUp, err)
	}
	return nil
}
