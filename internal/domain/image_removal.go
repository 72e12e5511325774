package domain

import (
	"fmt"
	"strings"
)

// CheckImageRemoval finds the backing image of that name on a store. Refuses an image
// that is needed: one that has clones, is exported, or is recorded by a replica that
// lost it, whose repair would need it.
func CheckImageRemoval(store Listing, name string) (ImageOnStore, error) {
	var image ImageOnStore
	var others []string
	for _, i := range store.Images() {
		switch {
		case i.Name != name:
			if i.Name != "" {
				others = append(others, i.Name)
			}
		case i.State == ImageDownloading:
			return ImageOnStore{}, refuse("lvol %s on lvstore %s: a download of image %s is in progress", i.Lvol.Name, store.Name, name)
		default:
			image = i
		}
	}
	if image.Name == "" {
		return image, refuse("backing image %s not found on lvstore %s; available: %s", name, store.Name, listOrNone(others))
	}
	var clones, record []string
	for _, l := range store.Lvols {
		switch {
		case l.Parent == image.Lvol.UUID:
			clones = append(clones, l.Name)
		case l.Record == name:
			record = append(record, l.Name)
		}
	}
	switch {
	case image.Lvol.UsedBy.Any():
		return image, refuse("backing image %s on lvstore %s is in use (it is %s): end that use first", name, store.Name, image.Lvol.UsedBy)
	case len(clones) > 0:
		return image, refuse("backing image %s on lvstore %s is needed: %s; delete the replicas first", name, store.Name, fewLvols(clones, "is its clone", "are its clones"))
	case len(record) > 0:
		return image, refuse("backing image %s on lvstore %s is needed: %s it and lost it; repair or delete the replicas first", name, store.Name, fewLvols(record, "records", "record"))
	}
	return image, nil
}

// fewLvols names at most three lvols and counts the others.
func fewLvols(lvols []string, one, more string) string {
	const most = 3
	switch {
	case len(lvols) == 1:
		return fmt.Sprintf("lvol %s %s", lvols[0], one)
	case len(lvols) > most:
		lvols = append(lvols[:most:most], fmt.Sprintf("%d more", len(lvols)-most))
	}
	return fmt.Sprintf("lvols %s and %s %s", strings.Join(lvols[:len(lvols)-1], ", "), lvols[len(lvols)-1], more)
}

func listOrNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return someNames(names)
}
