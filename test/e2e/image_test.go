package e2e

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// imageResult is the part of the image commands' JSON that the tests check.
type imageResult struct {
	Outcome, Error, Format, UUID, SHA512 string
	Bytes, Size, WrittenBytes            uint64
	Images                               []struct{ Name, State, UUID, SHA512 string }
}

// image runs engine image and returns its output and exit status.
func (e engine) image(t *testing.T, args ...string) (r imageResult, status int) {
	t.Helper()
	command := exec.Command(e.path, append(append([]string{"image"}, args...), "--output", "json")...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	if status = command.ProcessState.ExitCode(); status < 0 {
		require.NoError(t, err)
	}
	require.Empty(t, stderr.String())
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &r), "%s", stdout.String())
	return r, status
}

func (p *place) hostAddress() string { return "unix://" + p.target.Socket + "?lvs=" + p.lvstore }

// A real disk image is imported to two targets, from a raw file and from a qcow2 file. For
// a rebuild, which reads all data, it is one image; an image with another byte is found.
func TestImages(t *testing.T) {
	onEach(t, between, func(t *testing.T, from, to *targettest.Target) {
		a, b := newPlace(t, from, storeClusters), newPlace(t, to, storeClusters)
		disk, files := makeDiskImage(t, imageClusters)
		raw := filepath.Join(t.TempDir(), "disk.img")
		require.NoError(t, os.WriteFile(raw, disk, 0o600))
		digest := sha512.Sum512(disk)
		sum := hex.EncodeToString(digest[:])

		first, status := program.image(t, "import", raw, a.hostAddress(), "--name", imageName, "--sha512", sum)
		require.Equal(t, 0, status, first.Error)
		require.Equal(t, sum, first.SHA512)
		require.Less(t, first.WrittenBytes, first.Size, "what is zero is not written")
		second, status := program.image(t, "import", asQcow2(t, raw), b.hostAddress(), "--name", imageName, "--uuid", first.UUID)
		require.Equal(t, 0, status, second.Error)
		require.Equal(t, sum, second.SHA512)
		require.Equal(t, first.WrittenBytes, second.WrittenBytes)

		for _, p := range []*place{a, b} {
			listed, status := program.image(t, "list", p.hostAddress())
			require.Equal(t, 0, status)
			require.Len(t, listed.Images, 1)
			require.Equal(t, "ready", listed.Images[0].State)
			store := p.store(t)
			require.Len(t, store.Lvols, 1)
			if store.Records {
				require.Equal(t, domain.ImageRecord{UUID: first.UUID, Checksum: sum}, store.Lvols[0].Image)
			}
			require.EqualValues(t, first.WrittenBytes/clusterSize, store.Lvols[0].Own.Count)
			p.image = store.Lvols[0].UUID
			require.True(t, bytes.Equal(disk, p.view(t, store.Lvols[0])))
			requireFiles(t, p.view(t, store.Lvols[0]), files)
			checked, status := program.image(t, "verify", p.hostAddress(), "--name", imageName, "--sha512", sum)
			require.Equal(t, 0, status, checked.Error)
			require.EqualValues(t, len(disk), checked.Bytes)
			_, status = program.image(t, "import", raw, p.hostAddress(), "--name", imageName)
			require.Equal(t, 1, status, "it is there already")
		}

		a.growSource(t, "vol-1-r-0a1b2c3d")
		process := program.startRebuild(t, a.address("vol-1-r-0a1b2c3d"), b.address("vol-1-r-4e5f6a7b"), "--image", imageName, "--verify", "views")
		rebuilt, status := process.result(t)
		require.Equal(t, 0, status, rebuilt.Error)
		require.Empty(t, unexpected(process.stderr.String()))
		if !a.store(t).Records || !b.store(t).Records { // nothing tells that they are one image
			require.Len(t, rebuilt.Notices, 1)
			require.Contains(t, rebuilt.Notices[0], "unverified")
		}
		for _, step := range rebuilt.Plan {
			require.NotEqual(t, string(domain.ActionFetchImage), step.Action, "they are one image")
		}

		bad := append([]byte(nil), disk...)
		bad[len(bad)/2] ^= 1
		l, err := b.host.Create(t.Context(), domain.ImageInFlightLvolName("00000001"), uint64(len(bad)))
		require.NoError(t, err)
		b.target.Write(t, l, bad, 0)
		_, err = b.host.Seal(t.Context(), l, domain.ImageLvolName("bad", b.store(t).UUID), ports.SealRecord{Image: &domain.ImageRecord{UUID: first.UUID, Checksum: sum}})
		require.NoError(t, err)
		checked, status := program.image(t, "verify", b.hostAddress(), "--name", "bad", "--sha512", sum)
		require.Equal(t, 1, status)
		require.Contains(t, checked.Error, "expected "+sum)

		gone, status := program.image(t, "delete", b.hostAddress(), "--name", "bad", "--confirm", "bad")
		require.Equal(t, 0, status, gone.Error)
		kept, status := program.image(t, "delete", b.hostAddress(), "--name", imageName, "--confirm", imageName)
		require.Equal(t, 1, status)
		require.Equal(t, "refused", kept.Outcome)
		require.Contains(t, kept.Error, "its clone")
		free := b.store(t).FreeClusters
		none, status := program.image(t, "import", makeSparse(t, 64*clusterSize), b.hostAddress(), "--name", "sparse", "--checksum", "none")
		require.Equal(t, 0, status, none.Error)
		require.Empty(t, none.SHA512)
		require.EqualValues(t, clusterSize, none.WrittenBytes)
		listed, status := program.image(t, "list", b.hostAddress())
		require.Equal(t, 0, status)
		require.Len(t, listed.Images, 2)
		gone, status = program.image(t, "delete", b.hostAddress(), "--name", "sparse", "--confirm", "sparse")
		require.Equal(t, 0, status, gone.Error)
		require.Equal(t, free, b.store(t).FreeClusters)

		for _, p := range []*place{a, b} {
			var all []spdktypes.NvmfSubsystem
			p.target.Call(t, "nvmf_get_subsystems", nil, &all)
			for _, sub := range all {
				require.NotContains(t, sub.Nqn, "-rebuild-", "an export was left")
			}
			for _, l := range p.store(t).Lvols {
				require.False(t, strings.HasPrefix(l.Name, "bi-rebuilding-"), l.Name)
			}
		}
	})
}

// makeSparse makes a raw image with data at its end, behind a hole.
func makeSparse(t *testing.T, size int64) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "sparse.img")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Truncate(path, size-1))
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.Write([]byte{1})
	require.NoError(t, err)
	require.NoError(t, file.Close())
	return path
}

// asQcow2 compresses an image, if qemu-img is installed.
func asQcow2(t *testing.T, raw string) string {
	t.Helper()
	qemu, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Log("no qemu-img on the PATH: the second import is of the raw image, too")
		return raw
	}
	packed := raw + ".qcow2"
	out, err := exec.Command(qemu, "convert", "-f", "raw", "-O", "qcow2", "-c", raw, packed).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return packed
}

func proves(t *testing.T, source, destination *place) bool {
	t.Helper()
	return source.store(t).Proves && destination.store(t).Proves
}

// The destination lacks the image. If both targets have checksums, the copy is proven and
// has the source's record; otherwise the rebuild reports that it is not. In both cases the
// image is unchanged after a restart.
func TestFetchedImageIsProven(t *testing.T) {
	onEach(t, within|between|mixed, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newPlace(t, from, storeClusters), newPlace(t, to, storeClusters)
		image, _ := makeDiskImage(t, imageClusters)
		source.importImage(t, image)
		source.growSource(t, "vol-1-r-0a1b2c3d")
		r, status := program.startRebuild(t, source.address("vol-1-r-0a1b2c3d"), destination.address("vol-1-r-4e5f6a7b"), "--image", imageName, "--verify", "proof").result(t)
		require.Zero(t, status, r.Error)
		require.Equal(t, "fetch-image", r.Plan[0].Action)
		unverified := strings.Contains(strings.Join(r.Warnings, "\n"), "unverified")
		require.NotEqual(t, proves(t, source, destination), unverified, "%v", r.Warnings)

		look := func() {
			store := destination.store(t)
			for _, l := range store.Lvols {
				require.False(t, strings.HasPrefix(l.Name, "bi-rebuilding-"), l.Name)
			}
			found, ok := store.BackingImage(imageName)
			require.True(t, ok)
			require.True(t, bytes.Equal(image, destination.view(t, found.Lvol)))
			destination.image = found.Lvol.UUID
			if proves(t, source, destination) {
				require.Equal(t, domain.ImageRecord{UUID: imageUUID, Checksum: "0123"}, found.Lvol.Image)
			}
			requireRebuilt(t, source, "vol-1-r-0a1b2c3d", destination, "vol-1-r-4e5f6a7b")
		}
		look()
		to.Restart(t)
		destination.views.Clear()
		look()
	})
}
