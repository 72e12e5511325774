package main

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// ran is the result of a command line.
type ran struct {
	status         int
	stdout, stderr string
}

// engine runs a command line in this process.
func engine(t *testing.T, args ...string) ran {
	t.Helper()
	return engineIn(t.Context(), args...)
}

func engineIn(ctx context.Context, args ...string) ran {
	var stdout, stderr bytes.Buffer
	status := run(ctx, append([]string{}, args...), &stdout, &stderr)
	return ran{status, stdout.String(), stderr.String()}
}

const examples = "../../examples"

// scenarioFiles are the examples and the scenarios of tests.
func scenarioFiles(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{examples + "/*.yaml", "testdata/scenarios/*"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		all = append(all, files...)
	}
	return all
}
