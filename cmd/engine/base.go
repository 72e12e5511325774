package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
)

// baseForms are the values of --base.
const baseForms = "image:NAME, clone:REPLICA@SNAPSHOT or none"

// baseUsage describes --base where the flag is optional.
const baseUsage = "`BASE` of the volume, unless known: " + baseForms

// baseFlags are --base and its short forms --image and --no-image.
type baseFlags struct {
	text  string
	image string
	none  bool
}

func (f *baseFlags) add(c *cobra.Command, usage string) {
	c.Flags().StringVar(&f.text, "base", "", usage)
	c.Flags().StringVar(&f.image, "image", "", "backing image `NAME`: short for --base image:NAME")
	c.Flags().BoolVar(&f.none, "no-image", false, "the volume has no backing image: short for --base none")
}

// base is the base that the flags name, or the zero Base if none is given. An empty value
// is an error.
func (f baseFlags) base(c *cobra.Command) (rebuild.Base, error) {
	hasText, hasImage := c.Flags().Changed("base"), c.Flags().Changed("image")
	switch {
	case hasText && hasImage && f.none:
		return rebuild.Base{}, badUsage("--base, --image and --no-image: expected one of them, got all three")
	case hasText && hasImage:
		return rebuild.Base{}, badUsage("--base and --image: expected one of them, got both")
	case hasText && f.none:
		return rebuild.Base{}, badUsage("--base and --no-image: expected one of them, got both")
	case hasImage && f.none:
		return rebuild.Base{}, badUsage("--image and --no-image: expected one of them, got both")
	case hasText:
		return parseBase(f.text)
	case hasImage:
		return imageBase("--image", f.image)
	case f.none:
		return rebuild.NoBase(), nil
	}
	return rebuild.Base{}, nil
}

// parseBase parses the value of --base.
func parseBase(text string) (rebuild.Base, error) {
	kind, name, named := strings.Cut(text, ":")
	switch {
	case text == "none":
		return rebuild.NoBase(), nil
	case kind == "image" && named:
		return imageBase("--base", name)
	case kind == "clone" && named:
		return cloneBase(text, name)
	}
	return rebuild.Base{}, badUsage("--base %q: expected %s", text, baseForms)
}

func imageBase(flag, name string) (rebuild.Base, error) {
	if err := rebuild.CheckImageName(name); err != nil {
		return rebuild.Base{}, badUsage("%s: %v", flag, err)
	}
	return rebuild.ImageBase(name), nil
}

// cloneBase parses REPLICA@SNAPSHOT. The base is the same on every host, so any replica of
// the source volume names it, and so does the volume.
func cloneBase(text, of string) (rebuild.Base, error) {
	replica, snapshot, ok := strings.Cut(of, "@")
	if !ok || replica == "" || snapshot == "" {
		return rebuild.Base{}, badUsage("--base %q: expected clone:REPLICA@SNAPSHOT, such as clone:vol-9-r-0a1b2c3d@daily", text)
	}
	if err := rebuild.CheckReplicaName(replica); err != nil {
		return rebuild.Base{}, badUsage("--base %q: %v", text, err)
	}
	if err := rebuild.CheckSnapshotName(snapshot); err != nil {
		return rebuild.Base{}, badUsage("--base %q: %v", text, err)
	}
	volume, ok := rebuild.VolumeOfReplica(replica)
	if !ok {
		volume = replica
	}
	return rebuild.CloneBase(volume, snapshot), nil
}

// baseText is a base in JSON: "backing-image:NAME", "clone:VOLUME@SNAPSHOT", "none", or ""
// if it is not known.
func baseText(b rebuild.Base) string {
	if b.Any() {
		return b.Parent().String()
	}
	return b.Record()
}

// imageText is the backing image in JSON: its name, "none", or "" if it is not known. A
// linked clone has "", as its base has an image of its own or none.
func imageText(b rebuild.Base) string {
	if isClone(b) {
		return ""
	}
	return b.Record()
}

// baseWords names a base in text.
func baseWords(b rebuild.Base) string {
	if volume, snapshot, ok := b.Clone(); ok {
		return fmt.Sprintf("clone of %s@%s", volume, snapshot)
	}
	switch {
	case !b.Known():
		return "unknown"
	case !b.Any():
		return "none"
	}
	return b.String()
}

// baseNoun is the kind of a base that was lost.
func baseNoun(b rebuild.Base) string {
	if isClone(b) {
		return "base"
	}
	return "image"
}

func isClone(b rebuild.Base) bool {
	_, _, ok := b.Clone()
	return ok
}
