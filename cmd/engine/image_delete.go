package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
)

// deletedImage is what image delete prints as JSON.
type deletedImage struct {
	verdict
	Name              string `json:"name"`
	UUID              string `json:"uuid"` // that the host records
	Lvol              string `json:"lvol"` // its name; "": there is no such image
	Size              uint64 `json:"size"`
	AllocatedClusters uint64 `json:"allocatedClusters"`
}

func (p cli) imageDelete() *cobra.Command {
	var name, confirmed string
	c := reportingOn(namesNoReplica, &cobra.Command{
		Use:   "delete ADDRESS",
		Short: "Delete a backing image that has no clones",
		Long: `delete deletes a backing image from one host. It refuses an image that has clones,
and one that a replica records but lost: the repair of that replica needs it. Other
hosts keep theirs.
` + hostAddressHelp,
		Example: "  engine image delete 'unix:///var/tmp/spdk.sock?lvs=disk-1' --name debian --confirm debian",
	}, func(c *cobra.Command, at address, output outputFlag) error {
		if err := imageName(c, name); err != nil {
			return err
		}
		var image rebuild.ImageOnStore
		err := p.open.with(c.Context(), at, func(host openedHost) (err error) {
			if image, err = p.engine.PlanImageRemoval(c.Context(), host, name); err != nil {
				return err
			}
			lost := fmt.Sprintf("backing image %s of %s will be deleted", name, bytesText(image.Lvol.Size))
			if err := p.confirm.require(c, confirmed, name, lost); err != nil {
				return err
			}
			image, err = p.engine.DeleteImage(c.Context(), host, name)
			return err
		})
		l := image.Lvol
		text := fmt.Sprintf("deleted backing image %s: %s\n", name, count(l.Own.Count, "cluster"))
		return p.conclude(output, err, deletedImage{verdictOf(err), name, l.Image.UUID, l.Name, l.Size, l.Own.Count}, text)
	})
	c.Flags().StringVar(&name, "name", "", "`NAME` of the image")
	p.confirm.addFlag(c, &confirmed, "image")
	return c
}
