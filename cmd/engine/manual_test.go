package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// The first block of the manual is a whole scenario; the others are fields to put into
// it.
func TestManualScenariosRun(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "scenarios.md"))
	require.NoError(t, err)
	blocks := yamlBlock.FindAllStringSubmatch(string(text), -1)
	require.Greater(t, len(blocks), 5)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "disk.img"), make([]byte, 5000), 0o600))
	whole := make(map[string]any)
	for i, block := range blocks {
		line := 1 + strings.Count(string(text[:strings.Index(string(text), block[1])]), "\n")
		t.Run("line "+strconv.Itoa(line), func(t *testing.T) {
			var fields map[string]any
			require.NoError(t, yaml.Unmarshal([]byte(block[1]), &fields))
			if i == 0 {
				whole = fields
			}
			scenario := maps.Clone(whole)
			maps.Copy(scenario, fields)
			data, err := yaml.Marshal(scenario)
			require.NoError(t, err)
			file := filepath.Join(dir, "scenario.yaml")
			require.NoError(t, os.WriteFile(file, data, 0o600))
			told := engine(t, "simulate", file, "--output", "json")
			want := "complete"
			if strings.Contains(block[1], "# refused") {
				want = "refused"
			}
			require.Equal(t, want, printed(t, told.stdout, true)["outcome"], "%s%s", told.stdout, told.stderr)
		})
	}
}
