package main

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files")

// These differ from run to run: durations and progress, the time of a system snapshot,
// and drawn names.
var (
	random = regexp.MustCompile(`rebuilding-[0-9a-f]{8}`)
	took   = regexp.MustCompile(`(?m)(copied .* in )[0-9.]+(µs|ms|s)$`)
	slow   = regexp.MustCompile(`(?m)^  .* of .*, .*/s, .* left\n`) // of a run that took seconds
	frozen = regexp.MustCompile(`(rebuild-[0-9a-f]{8}  [0-9]+ clusters?  )[0-9TZ:-]+`)
)

func TestScenarioOutput(t *testing.T) {
	for _, file := range scenarioFiles(t) {
		name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told := engine(t, "simulate", oneAtATime(t, file))
			require.Empty(t, told.stderr)
			text := took.ReplaceAllString(told.stdout, "${1}TIME")
			text = slow.ReplaceAllString(text, "")
			text = frozen.ReplaceAllString(text, "${1}NOW")
			if strings.Contains(text, "\nFaults\n") {
				text = random.ReplaceAllString(text, "rebuilding-DRAWN")
			}
			if strings.Contains(text, "\nClients\n") {
				text = steady(text)
			}
			for n, line := range strings.Split(text, "\n") {
				require.Equal(t, strings.TrimRight(line, " "), line, "line %d ends in spaces", n+1)
			}
			golden := filepath.Join("testdata", "golden", name+".txt")
			if *update {
				require.NoError(t, os.MkdirAll(filepath.Dir(golden), 0o755))
				require.NoError(t, os.WriteFile(golden, []byte(text), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err, "go test ./cmd/engine -update writes it")
			require.Equal(t, string(want), text)
		})
	}
}

// These differ from run to run under a live volume, since clients write at random.
var unsteady = []struct {
	what *regexp.Regexp
	as   string
}{
	{random, "rebuilding-DRAWN"},
	{regexp.MustCompile(`rebuild-cut-[0-9a-f]{8}`), "rebuild-cut-DRAWN"},
	{regexp.MustCompile(`(rebuild-cut-DRAWN  )[0-9]+ clusters?  [0-9TZ:-]+\n(.*\(head\)  )[0-9]+ clusters?`), "${1}SOME clusters  NOW\n${2}SOME clusters"},
	{regexp.MustCompile(`(rebuild-cut-DRAWN.*  )[0-9]+ clusters?`), "${1}SOME clusters"},
	{regexp.MustCompile(`( RW +since ).*`), "${1}NOW"},
	{regexp.MustCompile(`\([0-9.]+ MiB of [0-9.]+ MiB in all\)`), "(SOME of ALL)"},
	{regexp.MustCompile(`[0-9.]+ MiB in `), "SOME in "},
	{regexp.MustCompile(`(stopped.*for |in a freeze of )[0-9.]+ ms`), "${1}TIME"},
	{regexp.MustCompile(`(?m)^  [0-9]+ reads, [0-9]+ writes, [0-9]+ trims, [0-9]+ writes of zeroes; the longest took .*$`), "  READS, WRITES, TRIMS, ZEROES"},
	{regexp.MustCompile(`(?m)^  (retry|waiting)  .*\n`), ""},
	{regexp.MustCompile(`(no longer used: ).*`), "${1}WHY"},
}

// steady is the output of a rebuild under a live volume without what differs.
func steady(text string) string {
	for _, it := range unsteady {
		text = it.what.ReplaceAllString(text, it.as)
	}
	return text
}

// oneAtATime is the scenario with one operation at a time, so that the order is always
// the same.
func oneAtATime(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	text := string(data)
	switch {
	case strings.Contains(text, "parallel: 1"):
	case strings.Contains(text, "options: {"):
		text = strings.Replace(text, "options: {", "options: {parallel: 1, ", 1)
	case strings.HasPrefix(text, "{"):
		text = strings.Replace(text, "{", `{"options": {"parallel": 1}, `, 1)
	default:
		text += "\noptions: {parallel: 1}\n"
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	require.NoError(t, err)
	text = strings.Replace(text, "file: disk.img", "file: "+filepath.Join(dir, "disk.img"), 1)
	changed := filepath.Join(t.TempDir(), filepath.Base(file))
	require.NoError(t, os.WriteFile(changed, []byte(text), 0o600))
	return changed
}
