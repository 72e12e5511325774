package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFile is the maximum size of a file. 100,000 snapshots are half of it.
const maxFile = 16 * mib

// Parse reads a scenario file. Every error is an *Error.
func Parse(path string) (*Scenario, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, &Error{File: path, Problem: err.Error()}
	}
	return ParseBytes(path, filepath.Dir(path), data)
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", withoutPath(err))
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, errors.New("expected a scenario file, got a directory")
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", withoutPath(err))
	}
	return data, nil
}

// withoutPath is the cause only, for messages that contain the path anyway.
func withoutPath(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err
	}
	return err
}

// ParseBytes reads the text of a scenario file. Errors show name, and relative paths in
// the text start at dir. Every error is an *Error.
func ParseBytes(name, dir string, data []byte) (*Scenario, error) {
	root, failed := parseYAML(data)
	if failed != nil {
		failed.File = name
		return nil, failed
	}
	r := &reader{file: name}
	s := r.scenario(root)
	if r.err != nil {
		return nil, r.err
	}
	s.origin = origin{file: name, dir: dir, root: root}
	if _, err := s.layOut(); err != nil {
		return nil, err
	}
	s.origin.root = topLevels(root)
	return s, nil
}

// parseYAML reads exactly one document.
func parseYAML(data []byte) (*yaml.Node, *Error) {
	if len(data) > maxFile {
		return nil, &Error{Problem: "expected a file of at most " + formatSize(maxFile)}
	}
	if at := firstInvalidByte(data); at >= 0 {
		return nil, &Error{Line: lineAt(data, at), Problem: fmt.Sprintf("expected text in UTF-8, got byte 0x%02x", data[at])}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, &Error{Problem: "expected a scenario that begins with apiVersion: " + APIVersion + ", got an empty file"}
	} else if err != nil {
		return nil, yamlError(err)
	}
	if err := decoder.Decode(&second); err == nil {
		return nil, &Error{Line: second.Line, Problem: "expected one document, got a second one"}
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlError(err)
	}
	return document.Content[0], nil
}

// firstInvalidByte is the position of the first byte that is not UTF-8 or is a control
// character that YAML does not allow; -1: none.
func firstInvalidByte(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 || r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f {
			return i
		}
		i += size
	}
	return -1
}

func lineAt(data []byte, at int) int { return 1 + bytes.Count(data[:at], []byte("\n")) }

var yamlProblem = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// parserProblems are errors of the YAML library's parser, which counts lines from 0; its
// scanner counts from 1.
var parserProblems = []string{
	"did not find expected <", "did not find expected node content", "did not find expected '-'",
	"did not find expected key", "did not find expected ','", "found undefined tag handle",
	"found duplicate %", "found incompatible YAML document",
}

// yamlError converts an error of the YAML library, which omits the line if it is the
// first.
func yamlError(err error) *Error {
	found := yamlProblem.FindStringSubmatch(err.Error())
	if found == nil {
		return &Error{Problem: "not YAML: " + quote(err.Error())}
	}
	line, problem := 1, found[2]
	if found[1] != "" {
		line, _ = strconv.Atoi(found[1])
		for _, own := range parserProblems {
			if strings.HasPrefix(problem, own) {
				line++
				break
			}
		}
	}
	switch {
	case strings.HasPrefix(problem, "unknown anchor"), strings.HasPrefix(problem, "exceeded max depth"), strings.HasPrefix(problem, "control characters"):
		line = 0 // not known
	}
	if len(problem) > 2*quoteLimit || oneLine(problem) != problem {
		problem = quote(problem)
	}
	return &Error{Line: line, Problem: "not YAML: " + problem}
}
