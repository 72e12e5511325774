package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var consoleBlock = regexp.MustCompile("(?s)```console\n(.*?)```")

// "…" in the manual stands for omitted lines.
func TestManualShowsActualOutput(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "commands.md"))
	require.NoError(t, err)
	printedBy := map[string]string{
		`engine replica list "$HOST"`:                                        "replica-list",
		`engine replica list "$LINKED"`:                                      "clone-replica-list",
		`engine tree "$B"`:                                                   "tree",
		`engine audit "$A" "$B"`:                                             "audit-compared",
		`engine repair "$B" --compare "$A" --dry-run`:                        "repair-dry-run",
		`engine repair "$B" --compare "$A"`:                                  "repair-compared",
		`engine history /var/lib/engine/rebuilds --replica vol-1-r-4e5f6a7b`: "history",
		`engine gc "$HOST"`:                                                  "gc",
		`engine snapshot create "$B" before-upgrade`:                         "in-use-snapshot-create-refused",
		`engine volume create --volume "$RAID" --size 512KiB --no-image --member "$A1" --member "$A2" --member "$A3"`: "volume-create-new",
		`engine volume purge --volume "$RAID" --member "$A1" --member "$A2" --member "$B"`:                            "volume-purge",
		`engine volume show --volume "$RAID" --member "$A1" --member "$A2" --member "$A3"`:                            "volume-show",
		`engine volume check --volume "$RAID" --member "$A1" --member "$A2" --member "$A3"`:                           "volume-check",
		`engine gc "$HOST" --yes`: "gc-yes",
	}
	shown := 0
	for _, block := range consoleBlock.FindAllStringSubmatch(string(text), -1) {
		for _, part := range strings.Split("\n"+block[1], "\n$ ")[1:] {
			command, output, _ := strings.Cut(part, "\n")
			golden, ok := printedBy[command]
			require.True(t, ok, "%q has no golden file", command)
			printed, err := os.ReadFile(filepath.Join("testdata", "golden", "commands", golden+".txt"))
			require.NoError(t, err)
			for _, piece := range strings.Split(output, "…") {
				require.Contains(t, string(printed), strings.Trim(piece, "\n"), command)
			}
			shown++
		}
	}
	require.Equal(t, len(printedBy), shown)
}
