package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/freezer"
	"github.com/rootgraft/rebuild/spdkhost"
)

const volumeAddressForm = "unix:///PATH/TO/spdk.sock?raid=NAME"

// volumeFlags name a live volume and how its clients are stopped.
type volumeFlags struct {
	volume                     string
	freeze                     freezeFlag
	freezeCommand, thawCommand string
	limit                      time.Duration
}

// freezeFlag is --freeze.
type freezeFlag string

const (
	freezeANA  freezeFlag = "ana"
	freezeNone freezeFlag = "none"
)

// volumeFlagNames are the flags that only make sense with a live volume.
var volumeFlagNames = []string{"volume", "freeze", "freeze-command", "thaw-command", "freeze-limit"}

func (f *volumeFlags) add(c *cobra.Command) {
	f.addVolume(c)
	flags := c.Flags()
	flags.Var(newOneOf(&f.freeze, freezeANA, freezeNone), "freeze", "stop clients by the ANA states of the RAID's listeners, or do it yourself")
	flags.StringVar(&f.freezeCommand, "freeze-command", "", "`COMMAND` for sh -c that stops clients and waits for their I/O in flight")
	flags.StringVar(&f.thawCommand, "thaw-command", "", "`COMMAND` for sh -c that lets clients go on; it must not fail if they were not stopped")
	flags.DurationVar(&f.limit, "freeze-limit", rebuild.DefaultFreezeLimit, "how long clients are stopped at most")
}

func (f *volumeFlags) addVolume(c *cobra.Command) {
	c.Flags().StringVar(&f.volume, "volume", "", "`ADDRESS` of the RAID1 that clients use: "+volumeAddressForm)
}

const freezeHelp = `
The RAID is ` + volumeAddressForm + `.
Its clients are stopped for a moment by the ANA states of its listeners (--freeze ana), by
two commands (--freeze-command and --thaw-command, such as dmsetup suspend and resume), or
not at all (--freeze none): then nobody may read or write meanwhile.
`

// check refuses wrong combinations, and returns where the RAID is.
func (f *volumeFlags) check() (volumeAddress, error) {
	at, err := readVolumeAddress(f.volume)
	commands := f.freezeCommand != "" || f.thawCommand != ""
	switch {
	case err != nil:
		return at, err
	case f.limit <= 0:
		return at, badUsage("--freeze-limit %s: expected a positive time, such as 5s", f.limit)
	case f.freeze != "" && commands:
		return at, badUsage("--freeze %s and a command that freezes or thaws: expected one of them, got both", f.freeze)
	case f.freezeCommand != "" && f.thawCommand == "":
		return at, badUsage("--freeze-command: expected --thaw-command with it")
	case f.thawCommand != "" && f.freezeCommand == "":
		return at, badUsage("--thaw-command: expected --freeze-command with it")
	case f.freeze == "" && !commands:
		return at, badUsage("how are clients stopped? expected --freeze ana, --freeze none, or --freeze-command and --thaw-command")
	}
	return at, nil
}

// freezer makes the freezer of an open volume.
func (f *volumeFlags) freezer(volume openedVolume) rebuild.Freezer {
	switch {
	case f.freezeCommand != "":
		return freezer.Commands(f.freezeCommand, f.thawCommand, f.limit)
	case f.freeze == freezeANA:
		return freezer.Func(volume.Suspend, volume.Resume).Checked(volume.CheckSuspend)
	}
	return freezer.None()
}

// What a freeze does to clients. With --freeze none, the caller does it.
const (
	clientsStopped = "clients were stopped"
	clientsStill   = "clients had to stand still"
)

func (f *volumeFlags) stopping() string {
	if f.freeze == freezeNone {
		return clientsStill
	}
	return clientsStopped
}

// volumeAddress says where a live volume is: a RAID of a target.
type volumeAddress struct {
	socket, raid string
	mayBeNew     bool // the RAID need not exist
}

func readVolumeAddress(text string) (at volumeAddress, err error) {
	const what = "--volume"
	at.socket, err = readUnixURL(what, text, volumeAddressForm, map[string]*string{"raid": &at.raid})
	if err == nil && at.raid == "" {
		err = badUsage("%s %q: raid is required: expected %s", what, text, volumeAddressForm)
	}
	return at, err
}

// openedVolume is a live volume that a command uses.
type openedVolume interface {
	rebuild.Mirror

	CheckSuspend(ctx context.Context) error
	Suspend(ctx context.Context) error
	Resume(ctx context.Context) error
	Close() error
}

// volumeOpener opens the volume of an address.
type volumeOpener func(ctx context.Context, at volumeAddress) (openedVolume, error)

func newVolumeOpener(log *zap.Logger) volumeOpener {
	return func(ctx context.Context, at volumeAddress) (openedVolume, error) {
		mirror, err := spdkhost.OpenMirror(ctx, spdkhost.MirrorConfig{Socket: at.socket, RAID: at.raid, New: at.mayBeNew, Logger: log})
		if err != nil {
			return nil, err
		}
		return mirror, nil
	}
}
