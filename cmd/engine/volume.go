package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
)

// volumeResult is what volume show prints as JSON, and a part of what check and snapshot do.
type volumeResult struct {
	verdict
	Volume  string        `json:"volume"` // name
	Size    uint64        `json:"size"`   // bytes
	Members []memberLine  `json:"members"`
	Faults  []string      `json:"faults"` // of the members themselves, one line each
	Differ  []string      `json:"differ"` // of snapshots: those in which the members differ
	Others  []memberState `json:"others"` // members that are none of the replicas given
}

// memberLine is a replica of a volume.
type memberLine struct {
	Replica string `json:"replica"`
	Store   string `json:"store"`
	memberState
	Dropped   string      `json:"dropped"` // the export of a head that is no member any more; "": none
	Snapshots []snapState `json:"snapshots"`
}

// volumeCommand are the flags of all commands of a volume, and what a command does with it.
type volumeCommand struct {
	volumeFlags

	base    baseFlags
	members []string
	output  outputFlag

	freezes  bool // clients are stopped, as the flags say
	mayBeNew bool // the volume need not exist
	needsAll bool // all hosts must answer
}

func (p cli) volume() *cobra.Command {
	return group("volume", "Make, show, check, purge and delete a volume, and take snapshots of it",
		p.volumeCreate(), p.volumeDelete(), p.volumeShow(), p.volumeCheck(), p.volumeSnapshot(), p.volumePurge())
}

func (f *volumeCommand) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.members, "member", nil, "`ADDRESS` of a replica of the volume; repeat it for each one")
	f.output.add(c)
}

const membersHelp = `
The volume is a RAID1, ` + volumeAddressForm + `.
Each --member is ` + addressForm + `.
`

// address reads where the volume is.
func (f *volumeCommand) address() (at volumeAddress, err error) {
	if f.freezes || f.limit < 0 {
		return f.check()
	}
	at, err = readVolumeAddress(f.volume)
	at.mayBeNew = f.mayBeNew
	return at, err
}

// withVolume opens the volume and the hosts of its members, and makes a request of the flags.
func (p cli) withVolume(c *cobra.Command, flags *volumeCommand, use func(rebuild.VolumeRequest) error) error {
	at, err := flags.address()
	if err != nil {
		return err
	}
	var request rebuild.VolumeRequest
	if request.Base, err = flags.base.base(c); err != nil {
		return err
	}
	places, err := parseAddresses("member", flags.members)
	if err != nil {
		return err
	}
	isOneOfSeveral := func(int) bool { return len(places) > 1 && !flags.needsAll }
	hosts, closeAll, err := p.open.all(c.Context(), places, isOneOfSeveral)
	if err != nil {
		return err
	}
	defer closeAll()
	for i, host := range hosts {
		request.Members = append(request.Members, rebuild.Site{Host: host, Replica: places[i].replica})
	}
	volume, err := p.openVolume(c.Context(), at)
	if err != nil {
		return err
	}
	defer func() { _ = volume.Close() }() // no call is under way
	request.Mirror = volume
	if flags.freezes {
		request.Freezer, request.FreezeLimit = flags.freezer(volume), flags.limit
	}
	return use(request)
}

func newVolumeResult(report rebuild.VolumeReport, failure error) volumeResult {
	r := volumeResult{
		verdict: verdictOf(failure), Volume: report.Volume.Name, Size: report.Volume.Size, Members: []memberLine{},
		Faults: append([]string{}, report.Faults()...), Differ: append([]string{}, differingRows(report)...), Others: memberStates(report.Strangers),
	}
	for _, part := range report.Replicas {
		line := memberLine{part.Replica.Name, part.Replica.Store.Name, memberStates([]rebuild.Member{part.Member})[0], "", []snapState{}}
		if part.Dropped != nil {
			line.Dropped = part.Dropped.UsedBy.Name
		}
		for _, s := range part.Replica.ParentsFirst() {
			line.Snapshots = append(line.Snapshots, newSnapState(part.Replica, s))
		}
		r.Members = append(r.Members, line)
	}
	return r
}

func (p cli) volumeShow() *cobra.Command {
	var flags volumeCommand
	c := &cobra.Command{
		Use:   "show",
		Short: "Draw the members of a live volume side by side, and what differs",
		Long: `show lists the members of a volume with their modes (RW whole, WO being rebuilt;
one that the RAID has dropped is no member) and their snapshots side by side. It changes
nothing, and clients go on.

Exit status: 0 all replicas are shown, 1 some could not be listed, or the command failed.
` + membersHelp,
		Example: "  engine volume show --volume 'unix:///var/tmp/c.sock?raid=vol-1' \\\n    --member 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d' \\\n    --member 'unix:///var/tmp/b.sock?lvs=disk-2&replica=vol-1-r-4e5f6a7b'",
		Args:    exactArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			var report rebuild.VolumeReport
			err := p.withVolume(c, &flags, func(request rebuild.VolumeRequest) (err error) {
				report, err = p.engine.Volume(c.Context(), request)
				return err
			})
			result := newVolumeResult(report, err)
			if err == nil && len(report.Lost) > 0 {
				err = &printedError{errors.New("not all replicas could be listed")}
			}
			return p.conclude(flags.output, err, result, volumeText(report))
		},
	}
	flags.addVolume(c)
	flags.add(c)
	return c
}

// volumeCheckResult is what volume check prints as JSON.
type volumeCheckResult struct {
	volumeResult
	Wrong       bool              `json:"wrong"`
	Replicas    []auditedState    `json:"replicas"`    // the whole members
	Differences []differenceState `json:"differences"` // between them
	Odd         []string          `json:"odd"`         // members that differ from more than half of those compared
	Notices     []string          `json:"notices"`
}

func (p cli) volumeCheck() *cobra.Command {
	var flags volumeCommand
	c := &cobra.Command{
		Use:   "check",
		Short: "Compare the members of a live volume, and name the odd one out",
		Long: `check compares the snapshots of the whole members: names, parents, sizes, cluster maps
and checksums. A member that differs from more than half of them is named as the odd one
out. Clients go on: the data of the heads is not compared. check changes nothing, except
that a host may compute and store checksums that it does not have yet.

Exit status: 0 nothing is wrong, 1 something is wrong, or the check failed.
` + membersHelp,
		Example: "  engine volume check --volume 'unix:///var/tmp/c.sock?raid=vol-1' \\\n    --member 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d' \\\n    --member 'unix:///var/tmp/b.sock?lvs=disk-2&replica=vol-1-r-4e5f6a7b'",
		Args:    exactArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			var check rebuild.VolumeCheck
			err := p.withVolume(c, &flags, func(request rebuild.VolumeRequest) (err error) {
				check, err = p.engine.CheckVolume(c.Context(), request)
				return err
			})
			result := newVolumeCheckResult(check, err)
			if err == nil && check.Wrong() {
				err = &printedError{errors.New("something is wrong")}
			}
			return p.conclude(flags.output, err, result, volumeCheckText(result, check))
		},
	}
	flags.addVolume(c)
	flags.base.add(c, baseUsage)
	flags.add(c)
	return c
}

func newVolumeCheckResult(check rebuild.VolumeCheck, failure error) volumeCheckResult {
	audit := newAuditState(rebuild.AuditReport{Volumes: []rebuild.VolumeAudit{check.Audit}}, failure).Volumes[0]
	r := volumeCheckResult{
		volumeResult: newVolumeResult(check.VolumeReport, failure), Wrong: check.Wrong(),
		Replicas: audit.Replicas, Differences: audit.Differences, Odd: []string{}, Notices: audit.Notices,
	}
	for _, d := range check.Audit.Differences {
		for _, odd := range d.Odd() {
			if !slices.Contains(r.Odd, odd) {
				r.Odd = append(r.Odd, odd)
			}
		}
	}
	return r
}

func volumeCheckText(r volumeCheckResult, check rebuild.VolumeCheck) string {
	var text strings.Builder
	fmt.Fprintf(&text, "volume %s, %s\n", r.Volume, bytesText(r.Size))
	for _, fault := range r.Faults {
		fmt.Fprintf(&text, "  wrong: %s\n", fault)
	}
	if len(check.Audit.Replicas) > 0 {
		text.WriteString(auditText(rebuild.AuditReport{Volumes: []rebuild.VolumeAudit{check.Audit}}))
	}
	for _, odd := range r.Odd {
		fmt.Fprintf(&text, "the odd one out: %s differs from most members; rebuild it\n", odd)
	}
	return text.String()
}
