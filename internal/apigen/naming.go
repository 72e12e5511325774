package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// naming translates internal names into public ones, and collects names that have none.
type naming struct {
	internal map[string]*internalPackage  // by name
	public   map[string]map[string]string // by internal package and symbol
	unknown  map[string]bool
}

func newNaming(f face, internal map[string]*internalPackage) (*naming, error) {
	n := &naming{internal: make(map[string]*internalPackage), public: make(map[string]map[string]string), unknown: make(map[string]bool)}
	for _, other := range faces {
		qualifier := other.name + "."
		if other.name == f.name {
			qualifier = ""
		}
		for _, e := range other.exports {
			p := internal[e.dir]
			n.internal[p.Name] = p
			names := make(map[string]string)
			n.public[p.Name] = names
			for _, symbol := range e.symbols {
				if !p.shared[symbol] {
					return nil, fmt.Errorf("%s exports no %s", e.dir, symbol)
				}
				for _, name := range p.withCompany(symbol) {
					names[name] = qualifier + name
				}
			}
		}
	}
	return n, nil
}

// withCompany is the symbol and those shown with it: a type's constants, the others of its
// block.
func (p *internalPackage) withCompany(symbol string) []string {
	names := []string{symbol}
	if v, ok := p.block(symbol); ok {
		names = append(names, v.Names...)
	}
	for _, t := range p.Types {
		if t.Name == symbol {
			for _, v := range t.Consts {
				names = append(names, v.Names...)
			}
		}
	}
	return names
}

// of is the public name of a symbol.
func (n *naming) of(pkg, symbol string) string {
	if name, ok := n.public[pkg][symbol]; ok {
		return name
	}
	n.unknown[pkg+"."+symbol] = true
	return symbol
}

// missing is an error if a name without a public one was mentioned.
func (n *naming) missing() error {
	if len(n.unknown) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(n.unknown))
	return fmt.Errorf("%s: mentioned, but not public; add it to faces.go", strings.Join(names, ", "))
}

var qualified = regexp.MustCompile(`\b([a-z]+)\.([A-Z]\w*)\b`)

// text translates a comment.
func (n *naming) text(text string) string {
	return qualified.ReplaceAllStringFunc(text, func(found string) string {
		pkg, symbol, _ := strings.Cut(found, ".")
		if _, internal := n.internal[pkg]; !internal {
			return found
		}
		return n.of(pkg, symbol)
	})
}

// comments translates all comments of a declaration.
func (n *naming) comments(node ast.Node) {
	ast.Inspect(node, func(node ast.Node) bool {
		if c, ok := node.(*ast.Comment); ok {
			c.Text = n.text(c.Text)
		}
		return true
	})
}

// expr translates the types in an expression of the package.
func (n *naming) expr(pkg string, e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.Ident:
		if p := n.internal[pkg]; p.shared[e.Name] {
			return &ast.Ident{NamePos: e.NamePos, Name: n.of(pkg, e.Name)}
		}
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok && n.internal[x.Name] != nil {
			return &ast.Ident{NamePos: e.Pos(), Name: n.of(x.Name, e.Sel.Name)}
		}
	case *ast.StarExpr:
		e.X = n.expr(pkg, e.X)
	case *ast.ArrayType:
		e.Elt = n.expr(pkg, e.Elt)
	case *ast.Ellipsis:
		e.Elt = n.expr(pkg, e.Elt)
	case *ast.MapType:
		e.Key, e.Value = n.expr(pkg, e.Key), n.expr(pkg, e.Value)
	case *ast.FuncType:
		n.fields(pkg, e.Params)
		n.fields(pkg, e.Results)
	case *ast.StructType:
		n.fields(pkg, e.Fields)
	case *ast.InterfaceType:
		n.fields(pkg, e.Methods)
	}
	return e
}

func (n *naming) fields(pkg string, list *ast.FieldList) {
	if list == nil {
		return
	}
	for _, f := range list.List {
		f.Type = n.expr(pkg, f.Type)
	}
}

// values translates a block. Constants keep their values, for the reader to see; variables
// get the internal ones, so that errors are equal.
func (n *naming) values(pkg string, decl *ast.GenDecl) {
	for _, s := range decl.Specs {
		spec := s.(*ast.ValueSpec) // of a block of values
		if spec.Type != nil {
			spec.Type = n.expr(pkg, spec.Type)
		}
		if decl.Tok != token.VAR {
			continue
		}
		spec.Type = nil
		for i, name := range spec.Names {
			spec.Values[i] = &ast.SelectorExpr{
				X:   &ast.Ident{NamePos: spec.Values[i].Pos(), Name: pkg},
				Sel: &ast.Ident{NamePos: spec.Values[i].Pos(), Name: name.Name},
			}
		}
	}
}
