// Command apigen writes the parts of the public packages that show internal
// ones: api.go of the module's root and of memhost, spdkhost and storetest.
//
// A type alias is all that it takes for the compiler, but go doc shows neither
// the fields nor the methods of what it stands for, and who embeds the engine
// is not to read internal/. So each alias gets a comment with the whole
// declaration in it, in the public names. Written by hand, it would be wrong
// soon; a test fails when what is written is not current.
//
// It runs in the module's root, by go generate.
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

// generate is what every face's file has to contain, by its name.
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
