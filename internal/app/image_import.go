package app

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

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
	if _, ok := ports.As[ports.Store](i.host); !ok {
		return refusef("this host can only be a source of rebuilds")
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
	err := i.content().pieces(ctx, func(next piece) error {
		if next.data != nil && !allZero(next.data) {
			i.clusters++
		}
		return sum.add(ctx, next, i.progress.read)
	})
	i.report.SHA512, i.surveyed = sum.hex(), err == nil
	return err
}

func (i *imageImport) newSum() *imageSum {
	if i.request.NoChecksum {
		return &imageSum{}
	}
	return &imageSum{sha512.New()}
}

// imageSum is the SHA-512 of a content; without a Hash it computes none.
type imageSum struct{ hash.Hash }

// add hashes a piece. It reports long zeros part by part, since they take long.
func (s *imageSum) add(ctx context.Context, next piece, done func(bytes uint64)) error {
	if s.Hash == nil || next.data != nil {
		if s.Hash != nil {
			_, _ = s.Write(next.data) // never fails
		}
		done(next.length)
		return nil
	}
	const part = 4 << 20
	for left := next.length; left > 0; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := min(part, left)
		for written := uint64(0); written < n; written += uint64(len(zeros)) {
			_, _ = s.Write(zeros[:min(uint64(len(zeros)), n-written)]) // never fails
		}
		done(n)
		left -= n
	}
	return nil
}

func (s *imageSum) hex() string {
	if s.Hash == nil {
		return ""
	}
	return hex.EncodeToString(s.Sum(nil))
}

func (i *imageImport) carryOut(ctx context.Context, opener ports.Opener) error {
	host := i.host
	if err := host.Release(ctx, i.run); err != nil {
		return fmt.Errorf("close what earlier runs left open: %w", err)
	}
	uuid, err := i.create(ctx)
	if err != nil {
		return err
	}
	i.updateReserved(func(p *reservedLvol) { p.uuid = uuid })
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

// create creates the in-flight lvol. An lvol of another owner with that name must not be
// removed, so another name is drawn.
func (i *imageImport) create(ctx context.Context) (uuid string, err error) {
	for tries := 0; ; tries++ {
		i.inFlight = domain.ImageInFlightLvolName(executor.NewID())
		free, err := i.engine.leaseNow(ctx, i.host, imageKey(i.store.UUID, i.inFlight), ports.Lease{Holder: "the import of backing image " + i.request.Name}) // it lives, so it is no garbage
		if err != nil {
			return "", err
		}
		uuid, err = i.host.Create(ctx, i.inFlight, i.report.Size)
		if !errors.Is(err, ports.ErrExists) {
			i.free = free
			return uuid, err
		}
		free()
		i.inFlight = ""
		if tries == 8 {
			return "", err
		}
	}
}

// fill writes all clusters with data. Surveyed content must not have changed.
func (i *imageImport) fill(ctx context.Context, opener ports.Opener, uuid string) (err error) {
	b, err := opener.Open(ctx, i.run, uuid)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	sum := i.newSum()
	spare := make(chan []byte, imageWriters)
	for range cap(spare) {
		spare <- make([]byte, i.store.ClusterSize)
	}
	writers, writing := errgroup.WithContext(ctx)
	var written uint64
	i.progress.beginReadingBytes(i.request.Size)
	err = i.content().pieces(writing, func(next piece) error {
		if next.data == nil {
			return sum.add(writing, next, i.progress.wrote)
		}
		length := next.length
		zero := allZero(next.data)
		_ = sum.add(writing, next, func(uint64) {}) // never fails
		if zero {
			i.progress.wrote(length)
			return nil
		}
		var whole []byte
		select {
		case whole = <-spare:
		case <-writing.Done():
			return context.Cause(writing)
		}
		clear(whole[copy(whole, next.data):]) // the last cluster is filled up with zeros
		writers.Go(func() error {
			_, err := b.WriteAt(whole, int64(next.offset))
			spare <- whole
			if err == nil {
				i.progress.wrote(length)
			}
			return err
		})
		written++
		i.report.WrittenBytes += uint64(len(whole))
		return nil
	})
	if failed := writers.Wait(); failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	if i.surveyed && (sum.hex() != i.report.SHA512 || written != i.clusters) {
		return fmt.Errorf("the image was changed while it was imported: %w", ports.ErrCorrupt)
	}
	i.report.SHA512, i.clusters = sum.hex(), written
	if c, ok := i.request.Content.(Changing); ok {
		if err := c.Unchanged(); err != nil {
			return fmt.Errorf("the image was changed while it was imported: %w: %w", ports.ErrCorrupt, err)
		}
	}
	return nil
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

func allZero(p []byte) bool {
	for len(p) > len(zeros) {
		if !bytes.Equal(p[:len(zeros)], zeros) {
			return false
		}
		p = p[len(zeros):]
	}
	return bytes.Equal(p, zeros[:len(p)])
}

// zeros are compared in blocks, which is faster than byte by byte.
var zeros = make([]byte, 64<<10)
