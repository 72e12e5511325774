package app_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

func TestImageIsImportedThinWithRecord(t *testing.T) {
	host := imageHost(memory.Fork)
	request := importOf(host, disk())
	request.SHA512 = sumOf(disk())
	report, err := app.New(nil).ImportImage(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, app.OutcomeComplete, report.Outcome)
	require.Equal(t, sumOf(disk()), report.SHA512)
	require.EqualValues(t, 5*imageCluster, report.WrittenBytes)
	require.EqualValues(t, len(disk()), report.Bytes)
	require.True(t, report.Recorded)
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, report.UUID)

	store, err := host.List(t.Context())
	require.NoError(t, err)
	require.Len(t, store.Lvols, 1)
	l := store.Lvols[0]
	require.Equal(t, report.Lvol, l)
	require.Equal(t, "bi-base-disk-"+store.UUID, l.Name)
	require.True(t, l.ReadOnly)
	require.EqualValues(t, 8*imageCluster, l.Size)
	require.EqualValues(t, 5, l.Own.Count, "zeros are not written")
	require.Equal(t, domain.ImageRecord{UUID: report.UUID, Checksum: report.SHA512}, l.Image)
	got := make([]byte, l.Size)
	require.NoError(t, host.ReadAt(l.UUID, got, 0))
	require.True(t, bytes.Equal(append(disk(), make([]byte, imageCluster-1000)...), got))
}

// An image that was imported on two hosts is the
// same one to a rebuild.
func TestField_ImportedTwiceIsOneImage(t *testing.T) {
	fabric := memory.NewFabric()
	const uuid = "01234567-89ab-4cde-8f01-23456789abcd"
	var sites []app.Site
	for _, name := range []string{"a", "b"} {
		host := fabric.NewHost(memory.Config{Name: name, ClusterSize: imageCluster, BlockSize: 512, TotalClusters: 64})
		request := importOf(host, disk())
		request.UUID = uuid
		_, err := app.New(nil).ImportImage(t.Context(), request)
		require.NoError(t, err)
		sites = append(sites, app.Site{Host: host, Replica: "vol-1-r-" + name})
	}
	store, err := sites[0].Host.List(t.Context())
	require.NoError(t, err)
	_, err = sites[0].Host.Clone(t.Context(), store.Lvols[0].UUID, sites[0].Replica, 10*imageCluster, "base")
	require.NoError(t, err)
	report, err := app.New(nil).Rebuild(t.Context(), app.Request{Source: sites[0], Destination: sites[1], Views: true})
	require.NoError(t, err)
	require.Zero(t, report.CopiedBytes)
	require.Empty(t, report.Violations)
	require.Len(t, report.SourceViews, 1)
}

func TestRefusedImportChangesNothing(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), 300))
	for name, c := range map[string]struct {
		change func(*app.ImageRequest)
		says   string
	}{
		"a bad name":              {func(r *app.ImageRequest) { r.Name = "a/b" }, `"a/b"`},
		"no name":                 {func(r *app.ImageRequest) { r.Name = "" }, `""`},
		"a name that is too long": {func(r *app.ImageRequest) { r.Name = long }, "takes at most 255: the image's name may have 210"},
		"a taken name":            {func(r *app.ImageRequest) { r.Name = "taken" }, "backing image taken is already on lvstore disk"},
		"a download":              {func(r *app.ImageRequest) { r.Name = "loading" }, "a download of image loading is in progress"},
		"a bad UUID":              {func(r *app.ImageRequest) { r.UUID = "1234" }, `image UUID "1234"`},
		"another checksum":        {func(r *app.ImageRequest) { r.SHA512 = sumOf(nil) }, "expected cf83e1357eefb8bd"},
		"a checksum that is none": {func(r *app.ImageRequest) { r.SHA512 = "abc" }, "expected 128 hex digits"},
		"no bytes":                {func(r *app.ImageRequest) { r.Size = 0 }, "is empty"},
		"too many bytes":          {func(r *app.ImageRequest) { r.Size = 1 << 50 }, "expected at most 70368744177664"},
		"no room":                 {func(r *app.ImageRequest) { r.ReservePercent = 94 }, "needs 5 clusters and 61 stay in reserve, but 64 are free"},
		"a checksum and none":     {func(r *app.ImageRequest) { r.SHA512, r.NoChecksum = sumOf(disk()), true }, "cannot be compared with a SHA-512 without computing its own"},
		"a host that opens none":  {func(r *app.ImageRequest) { r.Host = struct{ ports.Host }{r.Host} }, "cannot open lvols"},
		"no host":                 {func(r *app.ImageRequest) { r.Host = nil }, "no host"},
	} {
		t.Run(name, func(t *testing.T) {
			host := imageHost(memory.Fork)
			store, err := host.List(t.Context())
			require.NoError(t, err)
			for _, taken := range []string{"bi-taken-disk-" + store.UUID, "bi-loading-disk-" + store.UUID + "-temp-head"} {
				_, err := host.Create(t.Context(), taken, imageCluster)
				require.NoError(t, err)
			}
			before := namesOn(t, host)
			request := importOf(host, disk())
			c.change(&request)
			report, err := app.New(nil).ImportImage(t.Context(), request)
			require.ErrorIs(t, err, app.ErrRefused)
			require.ErrorContains(t, err, c.says)
			require.Equal(t, app.OutcomeRefused, report.Outcome)
			require.Equal(t, before, namesOn(t, host))
		})
	}
}

var errInjected = errors.Join(ports.ErrUnavailable, errors.New("injected"))

// Whatever call fails, before or after it was
// carried out, and also when the import is interrupted there. But for the seal whose
// answer is lost: then the image is there, whole.
func TestFailedImportLeavesNothing(t *testing.T) {
	for _, method := range []string{"release", "create", "open", "write", "look", "seal"} {
		for what, fault := range map[string]func(cancel func()) memory.Fault{
			"fails":       func(func()) memory.Fault { return memory.Fault{Before: errInjected} },
			"is not said": func(func()) memory.Fault { return memory.Fault{After: errInjected} },
			"interrupted": func(cancel func()) memory.Fault { cancel(); return memory.Fault{Before: errInjected} },
		} {
			t.Run(method+" "+what, func(t *testing.T) {
				host := imageHost(memory.Fork)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				inject(host, on(method).once().gets(fault(cancel)))
				report, err := app.New(nil).ImportImage(ctx, importOf(host, disk()))
				require.Error(t, err)
				require.Equal(t, app.OutcomeFailed, report.Outcome)
				host.Inject(nil)
				left := namesOn(t, host)
				if method == "seal" && what == "is not said" {
					require.Len(t, left, 1)
					_, err = app.New(nil).VerifyImage(t.Context(), host, "base", "", nil)
					require.NoError(t, err)
					return
				}
				require.Empty(t, left)
				_, err = app.New(nil).ImportImage(t.Context(), importOf(host, disk()))
				require.NoError(t, err, "and it can be done again")
			})
		}
	}
}

// changing reads otherwise the second time.
type changing struct {
	io.ReaderAt
	size  int64
	first bool
}

func (c *changing) ReadAt(p []byte, offset int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, offset)
	if !c.first && n > 0 {
		p[0] ^= 1
	}
	if offset+int64(n) == c.size {
		c.first = false
	}
	return n, err
}

func TestChangingFileIsNotImported(t *testing.T) {
	for name, readTwice := range map[string]func(*app.ImageRequest){
		"for its checksum": func(r *app.ImageRequest) { r.SHA512 = sumOf(disk()) },
		"for its room":     func(r *app.ImageRequest) { r.ReservePercent = 90 }, // 58 of 64 clusters
	} {
		t.Run("read twice "+name, func(t *testing.T) {
			host := imageHost(memory.Fork)
			request := importOf(host, disk())
			request.Content = &changing{ReaderAt: request.Content, size: int64(request.Size), first: true}
			readTwice(&request)
			_, err := app.New(nil).ImportImage(t.Context(), request)
			require.ErrorContains(t, err, "changed while it was imported")
			require.Empty(t, namesOn(t, host))
		})
	}
	host := imageHost(memory.Fork)
	request := importOf(host, disk())
	request.Content = changed{request.Content}
	_, err := app.New(nil).ImportImage(t.Context(), request)
	require.ErrorContains(t, err, "changed while it was imported: ")
	require.ErrorContains(t, err, "somebody wrote")
	require.Empty(t, namesOn(t, host))
	request = importOf(host, disk())
	request.Size++
	_, err = app.New(nil).ImportImage(t.Context(), request)
	require.ErrorContains(t, err, "ends after 29672 of 29673 bytes")
	require.Empty(t, namesOn(t, host))
}

// changed says that it is not any more what it was.
type changed struct{ io.ReaderAt }

func (changed) Unchanged() error { return errors.New("somebody wrote") }

func TestForeignWriteIntoImportIsDetected(t *testing.T) {
	host := imageHost(memory.Fork)
	inject(host, on("look").once().doesTo(func(c memory.Call) {
		require.NoError(t, host.WriteAt(c.UUID, []byte("x"), imageCluster))
	}))
	_, err := app.New(nil).ImportImage(t.Context(), importOf(host, disk()))
	require.ErrorIs(t, err, ports.ErrCorrupt)
	require.ErrorContains(t, err, "has 6 clusters and 32768 bytes, expected 5 and 32768")
	host.Inject(nil)
	require.Empty(t, namesOn(t, host))
}

func TestSecondImportOfAnImageIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := imageHost(memory.Fork)
		inject(host, on("create").takes(time.Second))
		engine := app.New(nil)
		var first error
		var all sync.WaitGroup
		all.Go(func() { _, first = engine.ImportImage(t.Context(), importOf(host, disk())) })
		synctest.Wait()
		_, err := engine.ImportImage(t.Context(), importOf(host, disk()))
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, "already being imported or fetched to lvstore disk")
		all.Wait()
		require.NoError(t, first)
	})
}

func TestImportReportsProgress(t *testing.T) {
	done := make(map[app.EventKind]uint64)
	request := importOf(imageHost(memory.Fork), disk())
	request.SHA512 = sumOf(disk())
	request.Observer = told(func(e app.Event) {
		require.EqualValues(t, len(disk()), e.BytesTotal)
		require.Greater(t, e.BytesDone, done[e.Kind])
		done[e.Kind] = e.BytesDone
	})
	_, err := app.New(nil).ImportImage(t.Context(), request)
	require.NoError(t, err)
	size := uint64(len(disk()))
	require.Equal(t, map[app.EventKind]uint64{app.EventReading: size, app.EventWriting: size}, done)

	clear(done)
	request.Host, request.SHA512 = imageHost(memory.Fork), "" // read once
	_, err = app.New(nil).ImportImage(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, map[app.EventKind]uint64{app.EventWriting: size}, done)
}

type told func(app.Event)

func (o told) Observe(e app.Event) { o(e) }

// A list that failed left a store of clusters of no bytes, and the import divided by them.
func TestFailedListEndsImport(t *testing.T) {
	for n := range 2 {
		host := imageHost(memory.Fork)
		inject(host, on("list").nth(n+1).fails(ports.ErrUnavailable))
		_, err := app.New(nil).ImportImage(t.Context(), importOf(host, disk()))
		require.ErrorIs(t, err, ports.ErrUnavailable, "list %d", n+1)
		host.Inject(nil)
		require.Empty(t, namesOn(t, host))
	}
}
