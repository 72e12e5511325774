package scenario

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// location is the path from the top of a file to a value. It is formatted only for an
// error: files have a million values, and one error.
type location struct {
	parent *location
	field  string // "" for an element of a list
	index  int
}

// String is a path such as source.snapshots[1].writes[0].seed, "" for the top.
func (p *location) String() string {
	if p == nil {
		return ""
	}
	parent := p.parent.String()
	switch {
	case p.field == "":
		return parent + "[" + strconv.Itoa(p.index) + "]"
	case parent == "":
		return p.field
	default:
		return parent + "." + p.field
	}
}

// origin is the file that a Scenario was read from.
type origin struct {
	file string
	dir  string // where its relative paths start
	root *yaml.Node
}

// errorAt is an Error about a field, which the file may have left out.
func (o origin) errorAt(field, problem string) *Error {
	return &Error{File: o.file, Line: o.line(field), Field: field, Problem: problem}
}

// line is the line of a field, or of its closest enclosing field if it was left out.
func (o origin) line(field string) int {
	if o.root == nil {
		return 0
	}
	node := o.root
	for step := range strings.FieldsFuncSeq(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		next := child(node, step)
		if next == nil {
			break
		}
		node = next
	}
	return node.Line
}

// topLevels copies the lines of a file's first three levels of fields, without lists. A
// Scenario keeps only these: all of a large file takes ten times the Scenario's memory, and
// Build reports no errors about deeper fields.
func topLevels(root *yaml.Node) *yaml.Node { return upTo(3, root) }

func upTo(levels int, node *yaml.Node) *yaml.Node {
	copied := &yaml.Node{Kind: target(node).Kind, Line: node.Line}
	if levels == 0 || copied.Kind != yaml.MappingNode {
		return copied
	}
	content := target(node).Content
	for i := 0; i+1 < len(content); i += 2 {
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: content[i].Value}
		copied.Content = append(copied.Content, key, upTo(levels-1, content[i+1]))
	}
	return copied
}

// child finds a field of a mapping or an element of a list.
func child(node *yaml.Node, step string) *yaml.Node {
	node = target(node)
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i < len(node.Content) {
			return node.Content[i]
		}
	}
	return nil
}

// target resolves an alias.
func target(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}
