package main

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/memhost"
)

const hostA = "unix:///a.sock?lvs=disk-1"

// diskOf is an image of a little more than five clusters of 64 KiB, of which two are zero.
func diskOf() []byte {
	p := make([]byte, 5*64<<10+512)
	_, _ = rand.NewChaCha8([32]byte{5}).Read(p)
	clear(p[64<<10 : 3*64<<10])
	return p
}

// qcow2Of makes a qcow2 image of it: its clusters in order, without those that are zero.
func qcow2Of(p []byte) []byte {
	const cluster = 64 << 10
	be := binary.BigEndian
	image := make([]byte, 3*cluster)
	copy(image, "QFI\xfb")
	be.PutUint32(image[4:], 2)
	be.PutUint32(image[20:], 16)
	be.PutUint64(image[24:], uint64(len(p)))
	be.PutUint32(image[36:], 1)
	be.PutUint64(image[40:], cluster)
	be.PutUint64(image[cluster:], 2*cluster|1<<63)
	for i := 0; i*cluster < len(p); i++ {
		data := make([]byte, cluster)
		copy(data, p[i*cluster:])
		if bytes.Equal(data, make([]byte, cluster)) {
			continue
		}
		be.PutUint64(image[2*cluster+8*i:], uint64(len(image))|1<<63)
		image = append(image, data...) //nolint:makezero // it grows behind what is set
	}
	return image
}

func fileOf(t *testing.T, name string, p []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, p, 0o600))
	return path
}

func sha512Of(p []byte) string {
	sum := sha512.Sum512(p)
	return hex.EncodeToString(sum[:])
}

const imageUUID = "01234567-89ab-4cde-8f01-23456789abcd"

func asJSON(t *testing.T, r ran, into any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(r.stdout), into), "%s%s", r.stdout, r.stderr)
}

// A raw file on one host and a qcow2 file on the other, with one UUID, are one image.
func TestField_OneImageOnTwoHosts(t *testing.T) {
	w := newWorld(t, twoHosts)
	raw, packed := fileOf(t, "disk.img", diskOf()), fileOf(t, "disk.qcow2", qcow2Of(diskOf()))
	told := w.engine("image", "import", raw, hostA, "--name", "debian", "--uuid", imageUUID, "--sha512", strings.ToUpper(sha512Of(diskOf())))
	require.Equal(t, exitDone, told.status, told.stderr)
	require.Contains(t, told.stdout, "imported backing image debian (raw, 320.5 KiB)")
	require.Contains(t, told.stdout, "size    384 KiB, 256 KiB of it written (the rest is zero)")

	var second importResult
	told = w.engine("image", "import", packed, hostB, "--name", "debian", "--uuid", imageUUID, "--sha512", sha512Of(qcow2Of(diskOf())), "--output", "json")
	require.Equal(t, exitDone, told.status, told.stderr)
	asJSON(t, told, &second)
	require.Equal(t, "complete", string(second.Outcome))
	require.Equal(t, "qcow2", second.Format)
	require.Equal(t, sha512Of(diskOf()), second.SHA512, "of the content")
	require.EqualValues(t, len(diskOf()), second.Bytes)
	require.EqualValues(t, 4*64<<10, second.WrittenBytes)
	require.True(t, second.Recorded)

	var lines []imageLine
	for _, host := range []string{hostA, hostB} {
		var listed imagesResult
		asJSON(t, w.engine("image", "list", host, "--output", "json"), &listed)
		for _, line := range listed.Images {
			if line.Name == "debian" {
				line.Lvol = ""
				lines = append(lines, line)
			}
		}
	}
	require.Len(t, lines, 2)
	require.Equal(t, lines[0], lines[1])
	require.Equal(t, imageLine{Name: "debian", State: rebuild.ImageReady, UUID: imageUUID, SHA512: second.SHA512, Size: 6 * 64 << 10, AllocatedClusters: 4}, lines[0])

	for _, host := range []string{hostA, hostB} {
		var check checkResult
		told := w.engine("image", "verify", host, "--name", "debian", "--output", "json")
		require.Equal(t, exitDone, told.status)
		asJSON(t, told, &check)
		require.Equal(t, second.SHA512, check.SHA512)
		require.EqualValues(t, len(diskOf()), check.Bytes)
		require.Contains(t, w.engine("image", "verify", host, "--name", "debian").stdout, "is intact: 328192 bytes")
	}
}

// With --checksum none only the allocated parts of the 415 GiB are read.
func TestField_qcow2reader_38_SparseImageImportsInSeconds(t *testing.T) {
	w := newWorld(t, twoHosts)
	const size, table = 415 << 30, 400 // of 830 second tables
	image := qcow2Of(diskOf())
	be := binary.BigEndian
	be.PutUint64(image[24:], size)
	be.PutUint32(image[36:], 830)
	clear(image[64<<10 : 2*64<<10])
	be.PutUint64(image[64<<10+8*table:], 2*64<<10|1<<63)
	image = append(image, make([]byte, 64<<10-512)...) // the last cluster is not the disk's last one any more
	file := fileOf(t, "disk.qcow2", image)

	var got importResult
	told := w.engine("image", "import", file, hostB, "--name", "a", "--checksum", "none", "--sha512", sha512Of(image), "--output", "json")
	require.Equal(t, exitDone, told.status, told.stdout)
	asJSON(t, told, &got)
	require.EqualValues(t, size, got.Bytes)
	require.EqualValues(t, 4*64<<10, got.WrittenBytes)
	require.Empty(t, got.SHA512)
	require.True(t, got.Recorded)
	require.Len(t, got.Warnings, 1)
	requireShortLine(t, w.engine("image", "verify", hostB, "--name", "a"), exitFailed, "records no checksum of backing image a")

	told = w.engine("image", "import", fileOf(t, "disk.img", diskOf()), hostB, "--name", "b", "--checksum", "none", "--sha512", sha512Of(diskOf()))
	require.Equal(t, exitDone, told.status, told.stderr)
	require.Contains(t, told.stdout, "sha512  none")
	require.Contains(t, told.stdout, "warning: it does not look like a disk")
	told = w.engine("image", "import", fileOf(t, "disk.img", diskOf()), hostB, "--name", "c", "--checksum", "none", "--sha512", sha512Of(nil))
	requireOneLine(t, told, exitFailed, "the SHA-512 of the file is "+sha512Of(diskOf()))
}

// The file is refused before anything is changed.
func TestField_ocaml_qcow_7_TruncatedFileLeavesNothing(t *testing.T) {
	w := newWorld(t, twoHosts)
	before := w.stores()
	packed := qcow2Of(diskOf())
	for name, p := range map[string][]byte{"qcow2": packed[:len(packed)-70_000], "header": packed[:40]} {
		var got importResult
		told := w.engine("image", "import", fileOf(t, name, p), hostB, "--name", "a", "--output", "json")
		require.Equal(t, exitFailed, told.status)
		asJSON(t, told, &got)
		require.Equal(t, "refused", string(got.Outcome))
		require.Contains(t, got.Error, "is a truncated qcow2 image")
		require.Equal(t, before, w.stores())
	}
}

func TestImageListIsTable(t *testing.T) {
	w := newWorld(t, twoHosts)
	require.Equal(t, exitDone, w.engine("image", "import", fileOf(t, "disk.img", diskOf()), hostB, "--name", "debian", "--uuid", imageUUID).status)
	_, err := w.b.Create(t.Context(), "bi-rebuilding-0badcafe", 64<<10)
	require.NoError(t, err)
	told := w.engine("image", "list", hostB)
	require.Equal(t, exitDone, told.status)
	require.Regexp(t, `^IMAGE +STATE +SIZE +CLONES +UUID +SHA-512\n`, told.stdout)
	require.Regexp(t, `\nbase +ready +256 KiB +0 `, told.stdout)
	require.Regexp(t, `\ndebian +ready +384 KiB +0 +`+imageUUID+` +`+sha512Of(diskOf())[:16]+`…\n`, told.stdout)
	require.Regexp(t, `\nbi-rebuilding-0badcafe +in-flight +64 KiB +0 +- +-\n`, told.stdout)
}

func TestField_10036_FileChecksumIsNotContentChecksum(t *testing.T) {
	w := newWorld(t, twoHosts)
	packed := qcow2Of(diskOf())
	require.Equal(t, exitDone, w.engine("image", "import", fileOf(t, "disk.qcow2", packed), hostB, "--name", "debian").status)
	told := w.engine("image", "verify", hostB, "--name", "debian", "--sha512", sha512Of(packed))
	requireOneLine(t, told, exitFailed, "the image is intact")
	require.NotContains(t, told.stderr, "corrupt")
	var check checkResult
	asJSON(t, w.engine("image", "verify", hostB, "--name", "debian", "--sha512", sha512Of(packed), "--output", "json"), &check)
	require.Equal(t, [3]string{sha512Of(packed), sha512Of(diskOf()), sha512Of(diskOf())}, [3]string{check.Expected, check.Recorded, check.SHA512})
}

func TestImageVerifyFindsOtherContent(t *testing.T) {
	w := newWorld(t, twoHosts)
	store, err := w.b.List(t.Context())
	require.NoError(t, err)
	l, err := w.b.Create(t.Context(), "bi-rebuilding-00000001", 6*64<<10)
	require.NoError(t, err)
	p := diskOf()
	p[2*64<<10] = 1
	require.NoError(t, w.b.WriteAt(l, p, 0))
	_, err = w.b.Seal(t.Context(), l, rebuild.ImageLvolName("debian", store.UUID), rebuild.SealRecord{Image: &rebuild.ImageRecord{UUID: imageUUID, Checksum: sha512Of(diskOf())}})
	require.NoError(t, err)
	told := w.engine("image", "verify", hostB, "--name", "debian")
	requireShortLine(t, told, exitFailed, "verify backing image debian", "expected "+sha512Of(diskOf()))
	var check checkResult
	told = w.engine("image", "verify", hostB, "--name", "debian", "--output", "json")
	require.Equal(t, exitFailed, told.status)
	asJSON(t, told, &check)
	require.Equal(t, "failed", string(check.Outcome))
	require.Equal(t, check.Expected, sha512Of(diskOf()))
	require.NotEqual(t, check.Expected, check.SHA512)
}

func TestBadImageInputIsOneLineAndChangesNothing(t *testing.T) {
	w := newWorld(t, twoHosts)
	before := w.stores()
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	disk, packed := fileOf(t, "disk.img", diskOf()), fileOf(t, "disk.qcow2", qcow2Of(diskOf()))
	backed := qcow2Of(diskOf())
	backed[15] = 200
	large := fileOf(t, "large.img", nil)
	noise := make([]byte, 101*64<<10)
	_, _ = rand.NewChaCha8([32]byte{6}).Read(noise)
	require.NoError(t, os.WriteFile(large, noise, 0o600))
	bring := func(file string, more ...string) []string {
		return append([]string{"image", "import", file, hostB}, more...)
	}
	for _, test := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"a command of image that is none", []string{"image", "dance"}, exitUsage, "import, list, verify"},
		{"no file", []string{"image", "import"}, exitUsage, "FILE"},
		{"no host", []string{"image", "import", disk}, exitUsage, "got 1"},
		{"an empty file name", bring("", "--name", "a"), exitUsage, "FILE is empty"},
		{"no name", bring(disk), exitUsage, "--name NAME is required"},
		{"an empty name", bring(disk, "--name", ""), exitUsage, "--name"},
		{"a name with a slash", bring(disk, "--name", "a/b"), exitUsage, `"a/b"`},
		{"a name with a space", bring(disk, "--name", "a b"), exitUsage, `"a b"`},
		{"a name in unicode", bring(disk, "--name", "ä"), exitUsage, "ä"},
		{"a name of 300 characters", bring(disk, "--name", strings.Repeat("n", 300)), exitFailed, "takes at most 255"},
		{"a UUID that is none", bring(disk, "--name", "a", "--uuid", "12"), exitUsage, `--uuid "12"`},
		{"an empty UUID", bring(disk, "--name", "a", "--uuid", ""), exitUsage, `--uuid ""`},
		{"a checksum that is none", bring(disk, "--name", "a", "--sha512", "xyz"), exitUsage, "128 hex digits"},
		{"an empty checksum", bring(disk, "--name", "a", "--sha512", ""), exitUsage, "128 hex digits"},
		{"another checksum", bring(disk, "--name", "a", "--sha512", sha512Of(nil)), exitFailed, "expected cf83e1357eefb8bd"},
		{"another checksum of a qcow2 file", bring(packed, "--name", "a", "--sha512", sha512Of(diskOf())), exitFailed, "the SHA-512 of the file is "},
		{"a taken name", bring(disk, "--name", "base"), exitFailed, "backing image base is already on lvstore disk-2"},
		{"no room", bring(large, "--name", "a"), exitFailed, "needs 101 clusters and 2 stay in reserve, but 100 are free"},
		{"a file that is not there", bring(dir+"/none", "--name", "a"), exitFailed, "no such file"},
		{"a directory", bring(dir, "--name", "a"), exitFailed, "is a directory"},
		{"a pipe", bring(pipe, "--name", "a"), exitFailed, "no regular file"},
		{"an empty file", bring(fileOf(t, "empty", nil), "--name", "a"), exitFailed, "is empty"},
		{"another format", bring(fileOf(t, "x.vmdk", []byte("KDMV")), "--name", "a"), exitFailed, "is a VMDK image"},
		{"a backing file", bring(fileOf(t, "x.qcow2", backed), "--name", "a"), exitFailed, "with a backing file"},
		{"half a qcow2 image", bring(fileOf(t, "x.qcow2", qcow2Of(diskOf())[:4*64<<10]), "--name", "a"), exitFailed, "is a truncated qcow2 image: the file ends after 262144 bytes, at least 131584 are missing"},
		{"an archive", bring(fileOf(t, "x.7z", []byte("7z\xbc\xaf\x27\x1c")), "--name", "a"), exitFailed, "is a 7z archive: unpack it first; expected a disk image, raw or qcow2; --format raw takes the file as it is"},
		{"a raw image that should be qcow2", bring(disk, "--name", "a", "--format", "qcow2"), exitFailed, "is not a qcow2 image"},
		{"no such checksum", bring(disk, "--name", "a", "--checksum", "file"), exitUsage, "expected content or none"},
		{"a format that is none", bring(disk, "--name", "a", "--format", "vmdk"), exitUsage, "expected auto, raw or qcow2"},
		{"a replica", []string{"image", "list", hurtAt}, exitUsage, "without replica"},
		{"an import onto a replica", []string{"image", "import", disk, hurtAt, "--name", "a"}, exitUsage, "without replica"},
		{"a target that is not there", []string{"image", "list", "unix:///nowhere.sock?lvs=disk-1"}, exitFailed, "/nowhere.sock"},
		{"an lvstore that is not there", []string{"image", "import", disk, "unix:///b.sock?lvs=disk-9", "--name", "a"}, exitFailed, "available: disk-2"},
		{"an image that is not there", []string{"image", "verify", hostB, "--name", "nope"}, exitFailed, "backing image nope on lvstore disk-2: not found"},
		{"a deletion of nothing", []string{"image", "delete", hostB}, exitUsage, "--name NAME is required"},
		{"a deletion without a word", []string{"image", "delete", hostB, "--name", "base"}, exitFailed, "is needed: lvol"},
		{"a deletion of what is not there", []string{"image", "delete", hostB, "--name", "nope", "--confirm", "nope"}, exitFailed, "backing image nope not found on lvstore disk-2; available: base"},
		{"a verification of nothing", []string{"image", "verify", hostB}, exitUsage, "--name NAME is required"},
		{"a verification against nothing", []string{"image", "verify", hostB, "--name", "base", "--sha512", "12"}, exitUsage, "128 hex digits"},
	} {
		t.Run(test.name, func(t *testing.T) {
			requireOneLine(t, w.engine(test.args...), test.status, test.says)
			require.Equal(t, before, w.stores())
			if test.status == exitFailed {
				var told verdict
				asJSON(t, w.engine(append(test.args, "--output", "json")...), &told)
				require.Contains(t, told.Error, test.says)
				require.NotEqual(t, "complete", string(told.Outcome))
			}
		})
	}
}

func TestImageDeleteNeedsConfirmation(t *testing.T) {
	w := newWorld(t, twoHosts)
	before := w.stores()
	require.Equal(t, exitDone, w.engine("image", "import", fileOf(t, "disk.img", diskOf()), hostB, "--name", "debian", "--uuid", imageUUID).status)
	with := w.stores()
	requireShortLine(t, w.engine("image", "delete", hostB, "--name", "debian"), exitUsage, "backing image debian of 384 KiB will be deleted; to confirm, repeat the name: --confirm debian")
	requireShortLine(t, w.engine("image", "delete", hostB, "--name", "debian", "--confirm", "Debian"), exitUsage, `the repeated name is "Debian", expected debian; nothing was changed`)
	require.Equal(t, with, w.stores())
	told := w.engine("image", "delete", hostB, "--name", "debian", "--confirm", "debian")
	require.Equal(t, exitDone, told.status, told.stderr)
	require.Equal(t, "deleted backing image debian: 4 clusters\n", told.stdout)
	require.Equal(t, before, w.stores())

	require.Equal(t, exitDone, w.engine("image", "import", fileOf(t, "disk.img", diskOf()), hostB, "--name", "debian", "--uuid", imageUUID).status)
	var got deletedImage
	told = w.engine("image", "delete", hostB, "--name", "debian", "--confirm", "debian", "--output", "json")
	require.Equal(t, exitDone, told.status, told.stdout)
	asJSON(t, told, &got)
	require.Equal(t, imageUUID, got.UUID)
	require.EqualValues(t, 4, got.AllocatedClusters)
	require.Regexp(t, "^bi-debian-disk-", got.Lvol)
	require.Equal(t, before, w.stores())
}

func TestInterruptedImportLeavesNothing(t *testing.T) {
	w := newWorld(t, twoHosts)
	before := w.stores()
	ctx, cancel := context.WithCancel(t.Context())
	w.b.Inject(func(call memhost.Call) memhost.Fault {
		if call.Method == "write" && call.N == 2 {
			cancel()
		}
		return memhost.Fault{}
	})
	var stdout, stderr bytes.Buffer
	status := run(ctx, []string{"image", "import", fileOf(t, "disk.img", diskOf()), hostB, "--name", "debian"}, &stdout, &stderr, fx.Replace(openers{open: w.open}))
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr.String(), "context canceled")
	w.b.Inject(nil)
	require.Equal(t, before, w.stores())
}

func TestVerifyViewsPrintsChecksums(t *testing.T) {
	w := newWorld(t, strings.Replace(twoHosts, "    - {name: vol-1-r-4e5f6a7b-rebuilding-0badcafe}\n", "", 1))
	args := []string{"rebuild", "--source", healthyAt, "--destination", hurtAt, "--image", "base", "--verify", "views"}
	var got result
	told := w.engine(append(args, "--output", "json")...)
	require.Equal(t, exitDone, told.status, told.stdout)
	asJSON(t, told, &got)
	require.Len(t, got.Source.Snapshots, 3)
	for i, s := range got.Source.Snapshots {
		require.Len(t, s.SHA256, 64)
		require.Equal(t, s.SHA256, got.Destination.Snapshots[i].SHA256)
	}
	require.Len(t, got.Source.Head.SHA256, 64)
	require.Equal(t, got.Source.Head.SHA256, got.Destination.Head.SHA256)
	require.Contains(t, w.engine(args...).stdout, "4 of 4 lvols (snapshots and head) have the source's data, byte for byte")
	require.NotContains(t, w.engine(append(args[:len(args)-1], "counts", "--output", "json")...).stdout, "sha256")
}
