package scenario

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxValues is the maximum number of values in a file with its aliases expanded: a few
// lines of nested aliases can expand to billions.
const maxValues = 5_000_000

// reader converts the values of a file. It keeps the first error; values that it returns
// after that are meaningless.
type reader struct {
	file    string
	visited int
	err     *Error
}

// value is one value of a file and its location. A value without a node was left out.
type value struct {
	node *yaml.Node
	at   *location
}

func (v value) given() bool { return v.node != nil }

func (r *reader) fail(v value, format string, args ...any) {
	if r.err != nil {
		return
	}
	r.err = &Error{File: r.file, Field: v.at.String(), Problem: fmt.Sprintf(format, args...)}
	if v.given() {
		r.err.Line = v.node.Line
	}
}

// visit resolves an alias and counts the value.
func (r *reader) visit(v value) value {
	if r.visited++; r.visited > maxValues {
		r.fail(v, "expected at most %d values, got more, with aliases expanded", maxValues)
	}
	v.node = target(v.node)
	return v
}

// fields are the fields of one mapping.
type fields struct {
	of     value
	reader *reader
	known  []string
	found  []value // by position in known
}

// fields reads a mapping that may have the known fields and no other.
func (r *reader) fields(v value, known ...string) fields {
	f := fields{of: v, reader: r, known: known, found: make([]value, len(known))}
	if !v.given() || r.err != nil {
		return f
	}
	v = r.visit(v)
	if isNull(v.node) {
		return f // such as "destination:" with all its fields commented out
	}
	if v.node.Kind != yaml.MappingNode {
		r.fail(v, "expected a mapping with the fields %s, got %s", strings.Join(known, ", "), describe(v.node))
		return f
	}
	for i := 0; i+1 < len(v.node.Content) && r.err == nil; i += 2 {
		f.add(v, v.node.Content[i], v.node.Content[i+1])
	}
	return f
}

func (f *fields) add(v value, key, content *yaml.Node) {
	r := f.reader
	key = r.visit(value{key, v.at}).node
	if key.Kind != yaml.ScalarNode {
		r.fail(value{key, v.at}, "expected the name of a field, got %s", describe(key))
		return
	}
	for i, name := range f.known {
		if name != key.Value {
			continue
		}
		at := &location{parent: v.at, field: name}
		if f.found[i].given() {
			r.fail(value{key, at}, "given twice, first on line %d", f.found[i].node.Line)
		}
		f.found[i] = value{content, at}
		return
	}
	r.fail(value{key, v.at}, "unknown field %s, expected one of %s", quote(key.Value), strings.Join(f.known, ", "))
}

// optional is the field, which may have been left out.
func (f fields) optional(name string) value {
	for i, known := range f.known {
		if known == name {
			return f.found[i]
		}
	}
	panic("scenario: field " + name + " is read and not known")
}

// required is the field; a missing one is an error.
func (f fields) required(name, expected string) value {
	v := f.optional(name)
	if !v.given() {
		v = value{f.of.node, &location{parent: f.of.at, field: name}}
	} else if !isNull(target(v.node)) {
		return v
	}
	f.reader.fail(v, "missing, expected %s", expected)
	return v
}

// list returns the elements of a list, nil if it was left out.
func (r *reader) list(v value, of string) []value {
	if !v.given() || r.err != nil {
		return nil
	}
	v = r.visit(v)
	if isNull(v.node) {
		return nil
	}
	if v.node.Kind != yaml.SequenceNode {
		r.fail(v, "expected a list of %s, got %s", of, describe(v.node))
		return nil
	}
	elements := make([]value, len(v.node.Content))
	for i, node := range v.node.Content {
		elements[i] = value{node, &location{parent: v.at, index: i}}
		if isNull(target(node)) {
			r.fail(elements[i], "expected one of the %s, got nothing", of)
		}
	}
	return elements
}

// scalar is a value that is not a list, a mapping or null.
func (r *reader) scalar(v value, expected string) (node *yaml.Node, ok bool) {
	if !v.given() || r.err != nil {
		return nil, false
	}
	v = r.visit(v)
	if v.node.Kind != yaml.ScalarNode || isNull(v.node) || !strings.HasPrefix(v.node.ShortTag(), "!!") {
		r.fail(v, "expected %s, got %s", expected, describe(v.node))
		return nil, false
	}
	return v.node, r.err == nil
}

// text is a text such as a name; it may look like a number.
func (r *reader) text(v value, expected string) string {
	node, ok := r.scalar(v, expected)
	if !ok {
		return ""
	}
	if node.Value == "" {
		r.fail(v, "expected %s, got %s", expected, describe(node))
	}
	return node.Value
}

// word is one of the given words, "" if it was left out.
func (r *reader) word(v value, expected string, words ...string) string {
	node, ok := r.scalar(v, expected)
	if !ok {
		return ""
	}
	if !slices.Contains(words, node.Value) {
		r.fail(v, "expected %s, got %s", expected, describe(node))
	}
	return node.Value
}

// flag is true or false.
func (r *reader) flag(v value) *bool {
	const expected = "true or false"
	node, ok := r.scalar(v, expected)
	if !ok {
		return nil
	}
	switch node.ShortTag() + strings.ToLower(node.Value) {
	case "!!booltrue":
		return new(true)
	case "!!boolfalse":
		return new(false)
	}
	r.fail(v, "expected %s, got %s", expected, describeKind(node))
	return nil
}

// number is a whole number from least to most.
func (r *reader) number(v value, least, most uint64) uint64 {
	expected := numberBetween(least, most)
	node, ok := r.scalar(v, expected)
	if !ok {
		return 0
	}
	number, err := strconv.ParseUint(node.Value, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) && most == math.MaxUint64:
		r.fail(v, "expected a whole number of at most %d, got %s", most, describe(node))
	case err != nil || node.ShortTag() == "!!str" || !onlyDigits(node.Value) || number < least || number > most:
		r.fail(v, "expected %s, got %s", expected, describeKind(node))
	}
	return number
}

func numberBetween(least, most uint64) string {
	if most == math.MaxUint64 {
		return fmt.Sprintf("a whole number of at least %d", least)
	}
	return fmt.Sprintf("a whole number from %d to %d", least, most)
}

// size is a number of bytes from least on.
func (r *reader) size(v value, least uint64) uint64 {
	const expected = "a size in bytes, KiB, MiB, GiB or TiB, such as 16MiB"
	node, ok := r.scalar(v, expected)
	if !ok {
		return 0
	}
	size, ok := parseSize(node.Value)
	switch {
	case !ok:
		r.fail(v, "expected %s, got %s", expected, describe(node))
	case size < least:
		r.fail(v, "expected a size of more than 0 bytes, got %s", describe(node))
	case size > maxSize:
		r.fail(v, "expected a size of at most %s, got %s", formatSize(maxSize), describe(node))
	}
	return size
}

// duration is a positive time up to most.
func (r *reader) duration(v value, most time.Duration, expected string) time.Duration {
	node, ok := r.scalar(v, expected)
	if !ok {
		return 0
	}
	took, err := time.ParseDuration(node.Value)
	if err != nil || took < time.Millisecond || took > most {
		r.fail(v, "expected %s, got %s", expected, describe(node))
	}
	return took
}

// moment is a time in RFC 3339.
func (r *reader) moment(v value) time.Time {
	const expected = "a time in RFC 3339 such as 2026-01-31T12:00:00Z, from 1970 on"
	node, ok := r.scalar(v, expected)
	if !ok {
		return time.Time{}
	}
	moment, err := time.Parse(time.RFC3339, node.Value)
	if err != nil || moment.Unix() < 0 {
		r.fail(v, "expected %s, got %s", expected, describe(node))
	}
	return moment
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// describeKind distinguishes "12" from 12.
func describeKind(node *yaml.Node) string {
	if node.Kind == yaml.ScalarNode && node.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		return "the text " + describe(node)
	}
	return describe(node)
}

// describe formats a value for a message.
func describe(node *yaml.Node) string {
	switch {
	case node.Kind == yaml.MappingNode:
		return "a mapping"
	case node.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(node):
		return "nothing"
	case !strings.HasPrefix(node.ShortTag(), "!!"):
		return "a value with the tag " + quote(node.Tag)
	default:
		return quote(node.Value)
	}
}
