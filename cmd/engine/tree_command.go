package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
)

func (p cli) tree() *cobra.Command {
	return reportingOn(mayNameReplica, &cobra.Command{
		Use:   "tree ADDRESS",
		Short: "Draw a replica's snapshot tree, or everything on a host",
		Long: `tree draws each lvol below its parent: the base, the snapshots with the
number of their own clusters and the time of their creation, the head, lvols in
flight, and the entry points on the snapshots with their linked clones. For an
address without a replica it draws everything on the lvstore.
` + addressHelp,
		Example: "  engine tree 'unix:///var/tmp/spdk.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d'\n  engine tree 'unix:///var/tmp/spdk.sock?lvs=disk-1'",
	}, func(c *cobra.Command, at address, output outputFlag) error {
		survey, err := p.survey(c, at)
		return p.conclude(output, err, newHostState(survey, err), surveyText(survey, drawReplica, at.replica == ""))
	})
}

// survey lists a host, or one replica of it.
func (p cli) survey(c *cobra.Command, at address) (survey rebuild.Survey, err error) {
	err = p.open.with(c.Context(), at, func(host openedHost) (err error) {
		if at.replica == "" {
			survey, err = p.engine.Survey(c.Context(), host)
			return err
		}
		r, err := p.engine.Replica(c.Context(), rebuild.Site{Host: host, Replica: at.replica})
		if err == nil {
			survey = rebuild.Survey{Store: r.Store, Replicas: []rebuild.Replica{r}, EntryPoints: r.EntryPoints()}
		}
		return err
	})
	return survey, err
}

func drawReplica(r rebuild.Replica) string {
	base := rebuild.Audit(r, rebuild.Base{}).Base
	return "\nreplica " + r.Name + "\n  base: " + baseWords(base) + "\n" + indent(drawTree(r), "  ")
}

// surveyText is a store as text.
func surveyText(s rebuild.Survey, replica func(rebuild.Replica) string, whole bool) string {
	if s.Store.UUID == "" {
		return ""
	}
	var text strings.Builder
	fmt.Fprintf(&text, "lvstore %s: %s of %d free, %s each\n", s.Store.Name, count(s.Store.FreeClusters, "cluster"), s.Store.TotalClusters, bytesText(s.Store.ClusterSize))
	for _, r := range s.Replicas {
		text.WriteString(replica(r))
	}
	if !whole {
		return text.String()
	}
	if len(s.Replicas) == 0 {
		text.WriteString("\nno replicas\n")
	}
	for _, u := range s.Unclear {
		fmt.Fprintf(&text, "\nreplica %s is ambiguous: %s\n", u.Name, u.Reason)
	}
	section := func(title string, lines []string) {
		if len(lines) > 0 {
			text.WriteString("\n" + title + "\n" + indent(strings.Join(lines, "\n")+"\n", "  "))
		}
	}
	var images, filling, entryPoints, others []string
	for _, b := range s.Images {
		images = append(images, fmt.Sprintf("%s  %s", lvolText(b.Name, b.Lvol), count(uint64(len(s.UsersOf(b))), "clone")))
	}
	for _, l := range s.Filling {
		filling = append(filling, lvolText(l.Name, l))
	}
	for _, e := range s.EntryPoints {
		entryPoints = append(entryPoints, entryPointText(e))
	}
	for _, l := range s.Others {
		others = append(others, lvolText(l.Name, l))
	}
	section("backing images", images)
	section("incomplete backing images", filling)
	section("entry points of linked clones", entryPoints)
	section("other lvols", others)
	return text.String()
}

// entryPointText describes an entry point, with the replicas that are its clones on lines of
// their own.
func entryPointText(e rebuild.EntryPointOnStore) string {
	lines := []string{fmt.Sprintf("%s  %s", lvolText(e.Lvol.Name, e.Lvol), count(uint64(len(e.Clones)), "linked clone"))}
	if e.Defect != "" {
		lines = append(lines, "wrong: it "+e.Defect)
	}
	return strings.Join(append(lines, e.Clones...), "\n  ")
}
