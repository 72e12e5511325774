// Command apigen writes the aliases in the public packages: api.go of the module's root and
// of memhost, freezer, spdkhost and storetest.
//
// For an alias go doc shows neither the fields nor the methods of its type, and embedders
// should not have to read internal packages. So the comment of each alias repeats the
// whole declaration, in public names. A test fails when an api.go is out of date.
//
// go generate runs it in the module's root.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	files, err := generate(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "apigen:", err)
		os.Exit(1)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.FromSlash(name), content, 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "apigen:", err)
			os.Exit(1)
		}
	}
}

// generate returns the content of every api.go, by its path.
func generate(root string) (map[string][]byte, error) {
	internal := make(map[string]*internalPackage)
	for _, f := range faces {
		for _, e := range f.exports {
			p, err := load(root, e.dir)
			if err != nil {
				return nil, err
			}
			internal[e.dir] = p
		}
	}
	files := make(map[string][]byte)
	for _, f := range faces {
		names, err := newNaming(f, internal)
		if err != nil {
			return nil, err
		}
		content, err := write(f, internal, names)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.file, err)
		}
		files[f.file] = content
	}
	return files, nil
}
