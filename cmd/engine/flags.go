package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// oneOf is a flag that takes one of several words.
type oneOf[T ~string] struct {
	value *T
	words []T
}

func newOneOf[T ~string](value *T, words ...T) *oneOf[T] { return &oneOf[T]{value, words} }

func (f *oneOf[T]) String() string { return string(*f.value) }
func (f *oneOf[T]) Type() string   { return f.join("|", "|") }
func (f *oneOf[T]) Set(text string) error {
	if !slices.Contains(f.words, T(text)) {
		return fmt.Errorf("expected %s", f.join(", ", " or "))
	}
	*f.value = T(text)
	return nil
}

func (f *oneOf[T]) join(between, last string) string {
	text := string(f.words[0])
	for i, word := range f.words[1:] {
		if i == len(f.words)-2 {
			between = last
		}
		text += between + string(word)
	}
	return text
}

// outputFlag is --output.
type outputFlag string

const (
	outputText outputFlag = "text"
	outputJSON outputFlag = "json"
)

func (o *outputFlag) add(c *cobra.Command) {
	*o = outputText
	c.Flags().Var(newOneOf(o, outputText, outputJSON), "output", "format of the result")
}

// verifyFlag is --verify.
type verifyFlag string

const (
	verifyCounts verifyFlag = "counts"
	verifyProof  verifyFlag = "proof"
	verifyViews  verifyFlag = "views"
)

// sizeUnits are the units of a size.
var sizeUnits = []struct {
	name  string
	shift uint
}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}}

// sizeFlag is a number of bytes, such as 16MiB.
type sizeFlag uint64

func (f *sizeFlag) String() string { return strconv.FormatUint(uint64(*f), 10) }
func (f *sizeFlag) Type() string   { return "SIZE" }
func (f *sizeFlag) Set(text string) error {
	digits, shift := text, uint(0)
	for _, unit := range sizeUnits {
		if rest, ok := strings.CutSuffix(text, unit.name); ok {
			digits, shift = rest, unit.shift
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n == 0 || n > 1<<63>>shift {
		return fmt.Errorf("expected bytes, or a number with KiB, MiB, GiB or TiB, such as 16MiB")
	}
	*f = sizeFlag(n << shift)
	return nil
}
