package app_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
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

const imageCluster = 4096

func imageHost(flavour memory.Flavour) *memory.Host {
	return memory.NewFabric().NewHost(memory.Config{Name: "disk", ClusterSize: imageCluster, BlockSize: 512, TotalClusters: 64, Flavour: flavour})
}

// disk is an image: clusters 1 to 3 of 8 are zero, and it ends within the last one.
func disk() []byte {
	p := make([]byte, 7*imageCluster+1000)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(p)
	clear(p[imageCluster : 4*imageCluster])
	return p
}

func sumOf(p []byte) string {
	sum := sha512.Sum512(p)
	return hex.EncodeToString(sum[:])
}

func importOf(host ports.Host, p []byte) app.ImageRequest {
	return app.ImageRequest{Host: host, Name: "base", Content: bytes.NewReader(p), Size: uint64(len(p))}
}

func namesOn(t *testing.T, host ports.Host) (names []string) {
	t.Helper()
	store, err := host.List(context.Background())
	require.NoError(t, err)
	for _, l := range store.Lvols {
		names = append(names, l.Name)
	}
	return names
}

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
		"a checksum and none":     {func(r *app.ImageRequest) { r.SHA512, r.NoChecksum = sumOf(disk()), true }, "is to be compared with a SHA-512, and to have none"},
		"a host that opens none":  {func(r *app.ImageRequest) { r.Host = struct{ ports.Host }{r.Host} }, "opens no lvols"},
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

// counting counts what is read of a content, from the beginning on.
type counting struct {
	io.ReaderAt
	read map[int64]int // by offset of a cluster
}

func (c *counting) ReadAt(p []byte, offset int64) (int, error) {
	for at := offset; at < offset+int64(len(p)); at += imageCluster {
		c.read[at]++
	}
	return c.ReaderAt.ReadAt(p, offset)
}

// holes is a content that knows that all but some of its clusters are zero, and
// tells it in parts.
type holes struct {
	*counting
	size uint64
	data map[uint64]bool // by number of the cluster
}

func (h holes) Extent(offset uint64) (length uint64, zero bool, err error) {
	return min(imageCluster-offset%imageCluster, h.size-offset), !h.data[offset/imageCluster], nil
}

func TestContentIsReadOnce(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*app.ImageRequest)
		often  int
	}{
		"where nothing is to be known before": {func(*app.ImageRequest) {}, 1},
		"without a checksum":                  {func(r *app.ImageRequest) { r.NoChecksum = true }, 1},
		"or twice, for a checksum":            {func(r *app.ImageRequest) { r.SHA512 = sumOf(disk()) }, 2},
		"or twice, for room":                  {func(r *app.ImageRequest) { r.ReservePercent = 90 }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			host := imageHost(memory.Fork)
			request := importOf(host, disk())
			c.change(&request)
			content := &counting{request.Content, make(map[int64]int)}
			request.Content = content
			report, err := app.New(nil).ImportImage(t.Context(), request)
			require.NoError(t, err)
			require.EqualValues(t, 5*imageCluster, report.WrittenBytes)
			require.Len(t, content.read, 8)
			for at, often := range content.read {
				require.Equal(t, c.often, often, "at %d", at)
			}
			requireContent(t, host, report, disk())
		})
	}
}

func requireContent(t *testing.T, host *memory.Host, report app.ImageReport, want []byte) {
	t.Helper()
	got := make([]byte, report.Lvol.Size)
	require.NoError(t, host.ReadAt(report.Lvol.UUID, got, 0))
	require.True(t, bytes.Equal(append(want, make([]byte, len(got)-len(want))...), got))
}

func TestHolesAreNotRead(t *testing.T) {
	for name, size := range map[string]int{"a hole at the end": 40*imageCluster + 5, "and no whole cluster": 37*imageCluster + 100, "data at the end": 36 * imageCluster} {
		t.Run(name, func(t *testing.T) {
			p := make([]byte, size)
			data := make(map[uint64]bool)
			for _, i := range []int{0, 3, 4, 20, 35} {
				_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(p[i*imageCluster : (i+1)*imageCluster])
				data[uint64(i)] = true
			}
			for _, none := range []bool{false, true} {
				host := imageHost(memory.Fork)
				request := importOf(host, p)
				content := holes{&counting{request.Content, make(map[int64]int)}, uint64(size), data}
				request.Content, request.NoChecksum = content, none
				request.ReservePercent = 92 // 59 of 64 clusters: what is no hole has just enough room
				report, err := app.New(nil).ImportImage(t.Context(), request)
				require.NoError(t, err)
				require.EqualValues(t, 5*imageCluster, report.WrittenBytes)
				for at, often := range content.read {
					require.True(t, data[uint64(at)/imageCluster], "at %d", at)
					require.Equal(t, 1, often)
				}
				requireContent(t, host, report, bytes.Clone(p))
				sum := sumOf(p)
				if none {
					sum = ""
				}
				require.Equal(t, sum, report.SHA512)
				require.Equal(t, domain.ImageRecord{UUID: report.UUID, Checksum: sum}, report.Lvol.Image)
			}
		})
	}
}

// parts is a content of which every other part is zero, and said to be.
type parts struct {
	io.ReaderAt
	ends []uint64
}

func (c parts) Extent(offset uint64) (uint64, bool, error) {
	i, _ := slices.BinarySearch(c.ends, offset+1)
	return c.ends[i] - offset, i%2 == 1, nil
}

func TestExtentsOfAnyLengthAreImported(t *testing.T) {
	for seed := range byte(100) {
		random := rand.New(rand.NewChaCha8([32]byte{seed}))
		var p []byte
		var c parts
		for len(p) < 20*imageCluster {
			part := make([]byte, 1+random.IntN(imageCluster<<random.IntN(3)))
			if len(c.ends)%2 == 0 {
				for i := range part {
					part[i] = byte(1 + random.IntN(255))
				}
			}
			p = append(p, part...)
			c.ends = append(c.ends, uint64(len(p)))
		}
		var clusters uint64
		for at := 0; at < len(p); at += imageCluster {
			if strings.Trim(string(p[at:min(at+imageCluster, len(p))]), "\x00") != "" {
				clusters++
			}
		}
		host := imageHost(memory.Fork)
		request := importOf(host, p)
		c.ReaderAt = request.Content
		request.Content = c
		report, err := app.New(nil).ImportImage(t.Context(), request)
		require.NoError(t, err, "seed %d", seed)
		require.EqualValues(t, clusters*imageCluster, report.WrittenBytes, "seed %d", seed)
		require.Equal(t, sumOf(p), report.SHA512, "seed %d", seed)
		requireContent(t, host, report, p)
	}
}

// huge is 415 GiB of zeros but for a cluster.
type huge struct {
	*counting
	asked *int
}

const (
	hugeSize = 415 << 30
	hugeData = 211<<30 + 3*imageCluster
)

func (h huge) Extent(offset uint64) (uint64, bool, error) {
	*h.asked++
	switch {
	case offset < hugeData:
		return min(1<<30, hugeData-offset), true, nil
	case offset < hugeData+imageCluster:
		return hugeData + imageCluster - offset, false, nil
	}
	return min(1<<30, hugeSize-offset), true, nil
}

// Without a checksum one cluster
// of 415 GiB is read, once.
func TestField_qcow2reader_38_SparseImageIsNotScanned(t *testing.T) {
	host := imageHost(memory.Fork)
	content := huge{&counting{io.NewSectionReader(ones{}, 0, hugeSize), make(map[int64]int)}, new(int)}
	report, err := app.New(nil).ImportImage(t.Context(), app.ImageRequest{Host: host, Name: "base", Content: content, Size: hugeSize, NoChecksum: true})
	require.NoError(t, err)
	require.EqualValues(t, imageCluster, report.WrittenBytes)
	require.EqualValues(t, hugeSize, report.Lvol.Size)
	require.Equal(t, map[int64]int{hugeData: 1}, content.read)
	require.Less(t, *content.asked, 2000)
}

// ones is a content that is all ones.
type ones struct{}

func (ones) ReadAt(p []byte, _ int64) (int, error) {
	for i := range p {
		p[i] = 1
	}
	return len(p), nil
}

func TestInvalidExtentIsRefused(t *testing.T) {
	for _, length := range []uint64{0, 1 << 40} {
		host := imageHost(memory.Fork)
		request := importOf(host, disk())
		request.Content = oddExtents{request.Content, length}
		_, err := app.New(nil).ImportImage(t.Context(), request)
		require.ErrorContains(t, err, "read the image: an extent of")
		require.Empty(t, namesOn(t, host))
	}
}

type oddExtents struct {
	io.ReaderAt
	length uint64
}

func (o oddExtents) Extent(uint64) (uint64, bool, error) { return o.length, true, nil }

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

func TestImageOfAnyLengthIsVerified(t *testing.T) {
	for name, p := range map[string][]byte{
		"ends within a cluster":   disk(),
		"whole clusters":          disk()[:5*imageCluster],
		"ends in zeros":           append(disk(), make([]byte, 500)...),
		"ends in a zero cluster":  disk()[:3*imageCluster],
		"one byte":                {1},
		"one zero":                {0},
		"nothing but zeros":       make([]byte, 3*imageCluster-1),
		"a zero into a cluster":   append(disk()[:imageCluster], 0),
		"a cluster less one byte": disk()[:imageCluster-1],
	} {
		t.Run(name, func(t *testing.T) {
			host := imageHost(memory.Fork)
			_, err := app.New(nil).ImportImage(t.Context(), importOf(host, p))
			require.NoError(t, err)
			check, err := app.New(nil).VerifyImage(t.Context(), host, "base", "", nil)
			require.NoError(t, err)
			require.Equal(t, sumOf(p), check.SHA512)
			require.EqualValues(t, len(p), check.Bytes)
		})
	}
}

func TestAnyOtherByteFailsImageVerification(t *testing.T) {
	for name, offset := range map[string]uint64{"in the first": 0, "in a hole": 2 * imageCluster, "in the last": 7*imageCluster + 999, "in the padding": 7*imageCluster + 1000, "at the end": 8*imageCluster - 1} {
		t.Run(name, func(t *testing.T) {
			host := imageHost(memory.Fork)
			store, err := host.List(t.Context())
			require.NoError(t, err)
			l, err := host.Create(t.Context(), "bi-rebuilding-00000001", 8*imageCluster)
			require.NoError(t, err)
			p := append(disk(), make([]byte, imageCluster-1000)...)
			p[offset] ^= 0x80
			require.NoError(t, host.WriteAt(l, p, 0))
			_, err = host.Seal(t.Context(), l, "bi-base-disk-"+store.UUID, ports.SealRecord{Image: &domain.ImageRecord{Checksum: sumOf(disk())}})
			require.NoError(t, err)
			check, err := app.New(nil).VerifyImage(t.Context(), host, "base", "", nil)
			require.ErrorIs(t, err, ports.ErrCorrupt)
			require.ErrorContains(t, err, "expected "+sumOf(disk()))
			require.Equal(t, sumOf(p), check.SHA512)
			require.EqualValues(t, len(p), check.Bytes)
		})
	}
}

func TestImageWithoutRecordIsComparedWithChecksum(t *testing.T) {
	host := imageHost(memory.Upstream)
	report, err := app.New(nil).ImportImage(t.Context(), importOf(host, disk()))
	require.NoError(t, err)
	require.False(t, report.Recorded)
	_, err = app.New(nil).VerifyImage(t.Context(), host, "base", "", nil)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "records no checksum")
	_, err = app.New(nil).VerifyImage(t.Context(), host, "base", sumOf(disk()), nil)
	require.NoError(t, err)
	_, err = app.New(nil).VerifyImage(t.Context(), host, "base", sumOf(nil), nil)
	require.ErrorIs(t, err, ports.ErrCorrupt)
	_, err = app.New(nil).VerifyImage(t.Context(), host, "base", "x", nil)
	require.ErrorIs(t, err, app.ErrRefused)
	_, err = app.New(nil).VerifyImage(t.Context(), host, "other", "", nil)
	require.ErrorIs(t, err, ports.ErrNotFound)
	_, err = app.New(nil).VerifyImage(t.Context(), host, "a/b", "", nil)
	require.ErrorIs(t, err, app.ErrRefused)
}

// The SHA-512 of a file does not make its image
// corrupt.
func TestField_10036_WhichChecksumWasGiven(t *testing.T) {
	content, file, other := sumOf(disk()), sumOf([]byte("the file")), sumOf([]byte("another"))
	for name, c := range map[string]struct {
		recorded, given string
		is              error
		says            string
	}{
		"the content's, recorded":             {content, "", nil, ""},
		"the content's, given":                {content, content, nil, ""},
		"the file's, given":                   {content, file, app.ErrRefused, "the image is intact, its bytes have the recorded SHA-512 " + content + "; the one that was given is not that of the content: it is that of a qcow2 file, or of another image"},
		"the file's, recorded by Longhorn":    {file, "", ports.ErrCorrupt, "if it has made this image, give that of the content"},
		"the file's recorded, the content's":  {file, content, nil, ""},
		"the file's, recorded and given":      {file, file, ports.ErrCorrupt, "Longhorn records the SHA-512 of a qcow2 file"},
		"neither of them":                     {file, other, ports.ErrCorrupt, "expected " + other + " (the SHA-512 of a qcow2 file is not that of its content)"},
		"nothing is recorded, the file's":     {"", file, ports.ErrCorrupt, "expected " + file + " (the SHA-512 of a qcow2 file is not that of its content)"},
		"nothing is recorded, the content's.": {"", content, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			host := imageHost(memory.Fork)
			store, err := host.List(t.Context())
			require.NoError(t, err)
			l, err := host.Create(t.Context(), "bi-rebuilding-00000001", 8*imageCluster)
			require.NoError(t, err)
			require.NoError(t, host.WriteAt(l, disk(), 0))
			_, err = host.Seal(t.Context(), l, "bi-base-disk-"+store.UUID, ports.SealRecord{Image: &domain.ImageRecord{Checksum: c.recorded}})
			require.NoError(t, err)
			check, err := app.New(nil).VerifyImage(t.Context(), host, "base", c.given, nil)
			require.Equal(t, c.recorded, check.Recorded)
			if c.is == nil {
				require.NoError(t, err)
				require.Equal(t, content, check.SHA512)
				return
			}
			require.ErrorIs(t, err, c.is)
			require.ErrorContains(t, err, c.says)
			for _, sentinel := range []error{app.ErrRefused, ports.ErrCorrupt} {
				require.Equal(t, errors.Is(c.is, sentinel), errors.Is(err, sentinel))
			}
		})
	}
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
		require.ErrorContains(t, err, "being brought onto lvstore disk already")
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
