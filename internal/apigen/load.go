package main

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

const module = "github.com/rootgraft/rebuild"

// internalPackage is a package that faces show.
type internalPackage struct {
	*doc.Package
	fset    *token.FileSet
	imports map[string]string // paths by name, in all its files
	shared  map[string]bool   // all exported symbols but methods and fields
}

func load(root, dir string) (*internalPackage, error) {
	entries, err := os.ReadDir(filepath.Join(root, filepath.FromSlash(dir)))
	if err != nil {
		return nil, err
	}
	p := &internalPackage{fset: token.NewFileSet(), imports: make(map[string]string), shared: make(map[string]bool)}
	var files []*ast.File
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(p.fset, filepath.Join(root, filepath.FromSlash(dir), name), nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, i := range file.Imports {
			imported, _ := strconv.Unquote(i.Path.Value) // it was parsed
			called := path.Base(imported)
			if i.Name != nil {
				called = i.Name.Name
			}
			p.imports[called] = imported
		}
		files = append(files, file)
	}
	p.Package, err = doc.NewFromFiles(p.fset, files, module+"/"+dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	p.share()
	return p, nil
}

func (p *internalPackage) share() {
	for _, t := range p.Types {
		p.shared[t.Name] = true
	}
	for _, f := range p.functions() {
		p.shared[f.Name] = true
	}
	for _, v := range p.values() {
		for _, name := range v.Names {
			p.shared[name] = true
		}
	}
}

// functions are all functions; go/doc lists constructors with their types.
func (p *internalPackage) functions() []*doc.Func {
	all := append([]*doc.Func(nil), p.Funcs...)
	for _, t := range p.Types {
		all = append(all, t.Funcs...)
	}
	return all
}

// values are all blocks of constants and variables; go/doc lists some with their types.
func (p *internalPackage) values() []*doc.Value {
	all := append(append([]*doc.Value(nil), p.Consts...), p.Vars...)
	for _, t := range p.Types {
		all = append(append(all, t.Consts...), t.Vars...)
	}
	return all
}

// block is the block of constants or variables with that symbol.
func (p *internalPackage) block(symbol string) (*doc.Value, bool) {
	for _, v := range p.values() {
		for _, name := range v.Names {
			if name == symbol {
				return v, true
			}
		}
	}
	return nil, false
}
