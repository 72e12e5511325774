package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
)

// requireShortLine checks that the error is one line on stderr, short enough to read.
func requireShortLine(t *testing.T, r ran, status int, parts ...string) {
	t.Helper()
	requireOneLine(t, r, status, parts...)
	require.Less(t, len(r.stderr), 600)
}

func TestUsageErrorIsOneLine(t *testing.T) {
	const file = examples + "/lost-image.yaml"
	for _, test := range []struct {
		name string
		args []string
		says string
	}{
		{"a command that is none", []string{"simulat"}, `"simulat"`},
		{"a flag before the command that is none", []string{"--bogus"}, "--bogus"},
		{"a log level that is none", []string{"--log", "loud", "simulate", file}, "debug, info, warn or error"},
		{"no file", []string{"simulate"}, "FILE"},
		{"two files", []string{"simulate", file, file}, "got 2"},
		{"an empty file name", []string{"simulate", ""}, "FILE is empty"},
		{"a flag that is none", []string{"simulate", "--bogus", file}, "--bogus"},
		{"an output that is none", []string{"simulate", file, "--output", "xml"}, "expected text or json"},
		{"an output without a value", []string{"simulate", file, "--output"}, "--output"},
		{"a plan of a file", []string{"plan", file}, "got 1"},
		{"a rebuild of a file", []string{"rebuild", file}, "got 1"},
		{"a plan without a source", []string{"plan"}, "--source is missing"},
		{"no hands", []string{"rebuild", "--parallel", "0"}, "at least 1"},
		{"a rate that is none", []string{"rebuild", "--bandwidth", "fast"}, "--bandwidth"},
		{"a proof without checksums", []string{"rebuild", "--no-checksums", "--verify", "proof"}, "--no-checksums and --verify proof"},
		{"no bandwidth at all", []string{"rebuild", "--bandwidth", "0"}, "such as 16MiB"},
		{"a number that is none", []string{"rebuild", "--parallel", "x"}, "--parallel"},
		{"a verification that is none", []string{"rebuild", "--verify", "hope"}, "expected counts, proof or views"},
		{"a target without a socket", []string{"simtarget"}, "--socket is missing"},
		{"a target with an empty socket", []string{"simtarget", "--socket", ""}, "--socket is empty"},
		{"two targets with one socket", []string{"simtarget", "--socket", "/tmp/a", "--socket", "/tmp/../tmp/a"}, "twice"},
		{"a flavour that is none", []string{"simtarget", "--socket", "/tmp/a", "--flavour", "longhorn"}, "expected fork or upstream"},
		{"an interval that is none", []string{"simtarget", "--socket", "/tmp/a", "--poll", "4"}, "--poll"},
		{"an interval below zero", []string{"simtarget", "--socket", "/tmp/a", "--poll", "-4ms"}, "--poll -4ms"},
		{"an empty state", []string{"simtarget", "--socket", "/tmp/a", "--state", ""}, "--state is empty"},
		{"a socket in no directory", []string{"simtarget", "--socket", "/nowhere/a.sock"}, "/nowhere/a.sock"},
		{"a socket with a long path", []string{"simtarget", "--socket", "/tmp/" + strings.Repeat("a", 103)}, "at most 107"},
		{"a file for a socket", []string{"simtarget", "--socket", "usage_test.go"}, "no socket"},
		{"a file for a state", []string{"simtarget", "--socket", filepath.Join(os.TempDir(), "a"), "--state", "usage_test.go"}, "usage_test.go"},
		{"a volume on one target", []string{"simtarget", "--socket", "/tmp/a", "--volume", "vol-1"}, "two --socket or more"},
		{"a volume without a name", []string{"simtarget", "--socket", "/tmp/a", "--socket", "/tmp/b", "--volume", ""}, "--volume: expected the name of a volume, such as vol-1"},
		{"a volume that is kept", []string{"simtarget", "--socket", "/tmp/a", "--socket", "/tmp/b", "--volume", "vol-1", "--state", "/tmp/s"}, "--volume and --state"},
		{"a target to kill and to run", []string{"simtarget", "--kill", "/tmp/a", "--socket", "/tmp/b"}, "--kill"},
		{"a second socket that is bad", []string{"simtarget", "--socket", filepath.Join(os.TempDir(), "engine-usage.sock"), "--socket", "/nowhere/a.sock"}, "/nowhere/a.sock"},
		{"a volume without online", rebuildOf("--volume", someVolume), "--volume: expected --online"},
		{"a freeze without online", rebuildOf("--freeze", "none"), "--freeze: expected --online"},
		{"a limit without online", []string{"plan", "--source", someAddress, "--destination", someAddress, "--freeze-limit", "1s"}, "--freeze-limit: expected --online"},
		{"online without a volume", rebuildOf("--online", "--freeze", "none"), "--volume is missing: expected " + volumeAddressForm},
		{"a volume without a raid", rebuildOf("--online", "--volume", "unix:///c.sock", "--freeze", "none"), "raid is required"},
		{"a replica as the volume", rebuildOf("--online", "--volume", someAddress, "--freeze", "none"), `unknown key "lvs"`},
		{"online without a freeze", rebuildOf("--online", "--volume", someVolume), "how are clients stopped?"},
		{"a freeze that is none", rebuildOf("--online", "--volume", someVolume, "--freeze", "hard"), "expected ana or none"},
		{"a freeze and a command", rebuildOf("--online", "--volume", someVolume, "--freeze", "ana", "--thaw-command", "true"), "got both"},
		{"a freeze command alone", rebuildOf("--online", "--volume", someVolume, "--freeze-command", "true"), "expected --thaw-command"},
		{"a thaw command alone", rebuildOf("--online", "--volume", someVolume, "--thaw-command", "true"), "expected --freeze-command"},
		{"no time to freeze", rebuildOf("--online", "--volume", someVolume, "--freeze", "none", "--freeze-limit", "0s"), "--freeze-limit 0s"},
		{"online with views", rebuildOf("--online", "--volume", someVolume, "--freeze", "none", "--verify", "views"), "--verify views"},
		{"a flag of rebuild for plan", []string{"plan", "--verify", "counts"}, "--verify"},
	} {
		t.Run(test.name, func(t *testing.T) {
			requireShortLine(t, engine(t, test.args...), exitUsage, test.says)
		})
	}
}

func TestErrorNamesFileFieldAndExpectation(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		name, file, text string
		says             []string
	}{
		{"an empty file", "empty.yaml", "", []string{"empty.yaml", "apiVersion: rebuild/v1"}},
		{"a megabyte of letters", "letters.yaml", strings.Repeat("x", 1<<20), []string{"letters.yaml:1", "apiVersion: rebuild/v1"}},
		{"a megabyte of zeros", "zeros.yaml", strings.Repeat("\x00", 1<<20), []string{"zeros.yaml:1", "UTF-8"}},
		{"another version", "version.yaml", "apiVersion: rebuild/v2\n", []string{"version.yaml:1", "apiVersion", "rebuild/v1"}},
		{"a field that is none", "field.yaml", "apiVersion: rebuild/v1\nvolume: {name: v, size: 1MiB, sice: 2}\nsource: {}\n", []string{"field.yaml:2", "volume", "sice", "clusterSize"}},
		{"a size that is none", "size.yaml", "apiVersion: rebuild/v1\nvolume: {name: v, size: big}\nsource: {}\n", []string{"size.yaml:2", "volume.size", "16MiB"}},
		{"JSON that is cut off", "cut.json", `{"apiVersion": "rebuild/v1", "volume": {`, []string{"cut.json", "not YAML"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(dir, test.file)
			require.NoError(t, os.WriteFile(path, []byte(test.text), 0o600))
			for _, output := range []string{"text", "json"} {
				requireShortLine(t, engine(t, "simulate", path, "--output", output), exitUsage, test.says...)
			}
		})
	}
	t.Run("a directory", func(t *testing.T) {
		requireShortLine(t, engine(t, "simulate", dir), exitUsage, dir, "directory")
	})
	t.Run("no such file", func(t *testing.T) {
		requireShortLine(t, engine(t, "simulate", filepath.Join(dir, "nope.yaml")), exitUsage, "nope.yaml", "no such file")
	})
}

const someVolume = "unix:///nowhere/spdk.sock?raid=vol-1"

func rebuildOf(flags ...string) []string {
	return append([]string{"rebuild", "--source", someAddress, "--destination", someAddress}, flags...)
}

const someAddress = "unix:///nowhere/spdk.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d"

func TestBadAddressIsUsageError(t *testing.T) {
	for _, test := range []struct{ name, address, says string }{
		{"none", "", "is missing"},
		{"a path", "/var/tmp/spdk.sock", addressForm},
		{"another scheme", "http://host/spdk.sock?lvs=a&replica=b", addressForm},
		{"two slashes", "unix://var/tmp/spdk.sock?lvs=a&replica=b", addressForm},
		{"a relative path", "unix:spdk.sock?lvs=a&replica=b", addressForm},
		{"no path", "unix://?lvs=a&replica=b", addressForm},
		{"a fragment", "unix:///s.sock?lvs=a&replica=b#c", addressForm},
		{"a broken escape", "unix:///s.sock?lvs=%zz&replica=b", addressForm},
		{"semicolons", "unix:///s.sock?lvs=a;replica=b", addressForm},
		{"an unknown key", "unix:///s.sock?lvs=a&replica=b&lsv=c", `unknown key "lsv"`},
		{"no replica", "unix:///s.sock?lvs=a", "lvs and replica are required"},
		{"no lvstore", "unix:///s.sock?replica=a", "lvs and replica are required"},
		{"an empty replica", "unix:///s.sock?lvs=a&replica=", "one value for replica"},
		{"two replicas", "unix:///s.sock?lvs=a&replica=b&replica=c", "one value for replica"},
		{"a replica with a space", "unix:///s.sock?lvs=a&replica=b%20c", "replica name"},
		{"a replica with a name in flight", "unix:///s.sock?lvs=a&replica=b-rebuilding", "in-flight"},
		{"a listener that is none", "unix:///s.sock?lvs=a&replica=b&listen=here", "listen=here"},
		{"a listener without ports", "unix:///s.sock?lvs=a&replica=b&listen=127.0.0.1", "ADDR:PORT-PORT"},
		{"a listener on a name", "unix:///s.sock?lvs=a&replica=b&listen=host:1-2", "ADDR:PORT-PORT"},
		{"a listener on a name says what is expected", "unix:///s.sock?lvs=a&replica=b&listen=host:1-2", `"host" is no IP address`},
		{"a listener on no address", "unix:///s.sock?lvs=a&replica=b&listen=:1-2", "ADDR:PORT-PORT"},
		{"a listener on all addresses", "unix:///s.sock?lvs=a&replica=b&listen=0.0.0.0:1-2", "0.0.0.0 stands for all addresses of a machine"},
		{"a listener on all of IPv6", "unix:///s.sock?lvs=a&replica=b&listen=[::]:1-2", "the one by which other targets reach the target's machine"},
		{"a listener on all, mapped", "unix:///s.sock?lvs=a&replica=b&listen=[::ffff:0.0.0.0]:1-2", "stands for all addresses"},
		{"a listener on a group", "unix:///s.sock?lvs=a&replica=b&listen=224.0.0.1:1-2", "not the address of one machine"},
		{"a listener on a network", "unix:///s.sock?lvs=a&replica=b&listen=255.255.255.255:1-2", "not the address of one machine"},
		{"a listener on port 0", "unix:///s.sock?lvs=a&replica=b&listen=127.0.0.1:0-5", "ADDR:PORT-PORT"},
		{"a listener backwards", "unix:///s.sock?lvs=a&replica=b&listen=127.0.0.1:5-4", "ADDR:PORT-PORT"},
		{"a listener beyond all ports", "unix:///s.sock?lvs=a&replica=b&listen=127.0.0.1:1-65536", "ADDR:PORT-PORT"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, command := range []string{"plan", "rebuild"} {
				requireShortLine(t, engine(t, command, "--source", test.address, "--destination", someAddress), exitUsage, "--source", test.says)
				requireShortLine(t, engine(t, command, "--source", someAddress, "--destination", test.address), exitUsage, "--destination", test.says)
			}
		})
	}
}

func TestValidAddresses(t *testing.T) {
	a, err := parseAddress("source", "unix:///var/tmp/spdk.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d&listen=[::1]:4000-4001")
	require.NoError(t, err)
	require.Equal(t, "/var/tmp/spdk.sock", a.socket)
	require.Equal(t, "disk-1", a.lvstore)
	require.Equal(t, "vol-1-r-0a1b2c3d", a.replica)
	require.Equal(t, "::1", a.listen.Address)
	require.Equal(t, uint16(4000), a.listen.First)
	require.Equal(t, uint16(4001), a.listen.Last)

	a, err = parseAddress("source", "unix:///s.sock?lvs=a&replica=b&listen=10.0.0.1:4000")
	require.NoError(t, err)
	require.Equal(t, a.listen.First, a.listen.Last, "one port is a range of one")
}

func TestBaseFlagsExcludeEachOther(t *testing.T) {
	for _, test := range []struct {
		name  string
		flags []string
		says  string
	}{
		{"an image and none", []string{"--image", "base", "--no-image"}, "--image and --no-image: expected one of them, got both"},
		{"a base and an image", []string{"--base", "image:base", "--image", "base"}, "--base and --image: expected one of them, got both"},
		{"a base and none", []string{"--base", "none", "--no-image"}, "--base and --no-image: expected one of them, got both"},
		{"all three", []string{"--base", "none", "--image", "base", "--no-image"}, "got all three"},
		{"an empty image", []string{"--image", ""}, "--image"},
		{"an image named none", []string{"--image", "none"}, "none"},
		{"an image with a space", []string{"--image", "a b"}, `"a b"`},
		{"an empty base", []string{"--base", ""}, `--base "": expected image:NAME, clone:REPLICA@SNAPSHOT or none`},
		{"a base of no kind", []string{"--base", "base"}, "expected image:NAME"},
		{"a base of another kind", []string{"--base", "lvol:base"}, "expected image:NAME"},
		{"a kind alone", []string{"--base", "clone"}, "expected image:NAME"},
		{"none and a name", []string{"--base", "none:x"}, "expected image:NAME"},
		{"a kind in capitals", []string{"--base", "Image:base"}, "expected image:NAME"},
		{"an image without a name", []string{"--base", "image:"}, "--base: backing image name"},
		{"a base image named none", []string{"--base", "image:none"}, "reserved"},
		{"a base image with a space", []string{"--base", "image:a b"}, `"a b"`},
		{"a clone of nothing", []string{"--base", "clone:"}, "expected clone:REPLICA@SNAPSHOT"},
		{"a clone without a snapshot", []string{"--base", "clone:vol-9-r-0000000a"}, "expected clone:REPLICA@SNAPSHOT"},
		{"a clone of an empty snapshot", []string{"--base", "clone:vol-9-r-0000000a@"}, "expected clone:REPLICA@SNAPSHOT"},
		{"a clone of no replica", []string{"--base", "clone:@daily"}, "expected clone:REPLICA@SNAPSHOT"},
		{"a clone of two snapshots", []string{"--base", "clone:vol-9@daily@weekly"}, `"daily@weekly"`},
		{"a clone of a path", []string{"--base", "clone:disk/vol-9@daily"}, `"disk/vol-9"`},
		{"a clone of a snapshot with a space", []string{"--base", "clone:vol-9@a b"}, `"a b"`},
		{"a clone of an entry point", []string{"--base", "clone:vol-9-r-0000000a-clone-ep-daily@daily"}, "-clone-ep-"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, command := range [][]string{
				{"plan", "--source", someAddress, "--destination", someAddress},
				{"rebuild", "--source", someAddress, "--destination", someAddress},
				{"audit", someAddress},
				{"repair", someAddress},
				{"replica", "create", someAddress, "--size", "8MiB"},
			} {
				requireShortLine(t, engine(t, append(command, test.flags...)...), exitUsage, test.says)
			}
		})
	}
}

func TestBaseValues(t *testing.T) {
	for text, want := range map[string]rebuild.Base{
		"none":                          rebuild.NoBase(),
		"image:base":                    rebuild.ImageBase("base"),
		"image:clone":                   rebuild.ImageBase("clone"),
		"clone:vol-9-r-0000000a@daily":  rebuild.CloneBase("vol-9", "daily"),
		"clone:vol-9@daily":             rebuild.CloneBase("vol-9", "daily"),
		"clone:a-r-b-r-0000000a@x-r-y":  rebuild.CloneBase("a-r-b", "x-r-y"),
		"clone:none@image":              rebuild.CloneBase("none", "image"),
		"clone:vol-9-r-0000000b@daily1": rebuild.CloneBase("vol-9", "daily1"),
	} {
		got, err := parseBase(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
}

func TestUnreachableTargetIsNoUsageError(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("not a socket"), 0o600))
	closes := filepath.Join(dir, "closes.sock")
	listener, err := net.Listen("unix", closes)
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	for name, socket := range map[string]string{
		"there is no socket": filepath.Join(dir, "nope.sock"),
		"it is a file":       file,
		"it is a directory":  dir,
		"it hangs up":        closes,
	} {
		t.Run(name, func(t *testing.T) {
			at := "unix://" + socket + "?lvs=disk-1&replica=vol-1-r-0a1b2c3d"
			for _, command := range []string{"plan", "rebuild"} {
				args := []string{command, "--source", at, "--destination", at}
				requireShortLine(t, engine(t, args...), exitFailed, socket, "disk-1")

				told := engine(t, append(args, "--output", "json")...)
				require.Equal(t, exitFailed, told.status)
				require.Empty(t, told.stderr)
				r := printed(t, told.stdout, false)
				require.Equal(t, "failed", r["outcome"])
				require.Contains(t, r["error"], socket)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, test := range []struct {
		args []string
		says []string
	}{
		{nil, []string{"simulate", "plan", "rebuild", "Exit status", "--log"}},
		{[]string{"--help"}, []string{"simulate", "plan", "rebuild", "Exit status"}},
		{[]string{"simulate", "--help"}, []string{"simulate FILE", "--output", "docs/scenarios.md", "examples/damaged-leftover.yaml"}},
		{[]string{"plan", "--help"}, []string{"--source ADDRESS", "--destination ADDRESS", "--base BASE", "--image NAME", "--no-image", "--fast", "--accept-hurt-source", "--output", addressForm}},
		{[]string{"rebuild", "--help"}, []string{"--source ADDRESS", "--parallel", "--verify counts|proof", "--output", addressForm, "127.0.0.1:20001-20400"}},
		{[]string{"help", "rebuild"}, []string{"--parallel"}},
		{[]string{"gc", "--help"}, []string{"gc HOST", "--yes", hostAddressForm}},
		{[]string{"history", "--help"}, []string{"history FILE", "--replica NAME", "--journal FILE"}},
		{nil, []string{"tree", "audit", "repair", "replica", "snapshot", "docs/commands.md"}},
		{[]string{"tree", "--help"}, []string{"tree ADDRESS", "--output", addressForm}},
		{[]string{"audit", "--help"}, []string{"audit ADDRESS…", "--base BASE", "--image NAME", "--no-image", "--verify counts|proof", "Exit status"}},
		{[]string{"repair", "--help"}, []string{"--dry-run", "--compare ADDRESS", "unproven", "Exit status"}},
		{[]string{"replica", "--help"}, []string{"create", "delete", "list"}},
		{[]string{"replica", "create", "--help"}, []string{"--size SIZE", "--base BASE", "image:NAME, clone:REPLICA@SNAPSHOT or none", "--image NAME", "--no-image"}},
		{[]string{"replica", "list", "--help"}, []string{"HOST", hostAddressForm}},
		{[]string{"replica", "delete", "--help"}, []string{"--confirm NAME", "linked clone"}},
		{[]string{"snapshot", "--help"}, []string{"create", "delete", "list", "revert"}},
		{[]string{"snapshot", "create", "--help"}, []string{"ADDRESS NAME", "Only this replica is changed"}},
		{[]string{"snapshot", "delete", "--help"}, []string{"--confirm NAME", "merges", "Only this replica is changed"}},
		{[]string{"snapshot", "revert", "--help"}, []string{"--confirm NAME", "--size SIZE", "run it again"}},
		{[]string{"simtarget", "--help"}, []string{"--socket PATH", "--flavour fork|upstream", "--state DIR", "--poll DURATION", "--volume NAME", "bdev_aio_create"}},
	} {
		t.Run("engine "+strings.Join(test.args, " "), func(t *testing.T) {
			told := engine(t, test.args...)
			require.Equal(t, exitDone, told.status)
			require.Empty(t, told.stderr)
			for _, part := range test.says {
				require.Contains(t, told.stdout, part)
			}
			for line := range strings.Lines(told.stdout) {
				require.LessOrEqual(t, len(line), 121, "%q", line)
			}
		})
	}
}

func TestFilesNamedInHelpExist(t *testing.T) {
	for _, file := range []string{"docs/commands.md", "docs/scenarios.md", "examples/damaged-leftover.yaml", "examples/lost-image.yaml"} {
		_, err := os.Stat(filepath.Join("..", "..", file))
		require.NoError(t, err)
	}
}
