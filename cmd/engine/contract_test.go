package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
)

// The JSON's field names, and that each field is always present, are part of the public
// interface. The test repeats them without the types that print them.
var (
	resultFields    = []string{"apiVersion", "outcome", "error", "plan", "source", "destination", "violations", "warnings", "notices", "copiedBytes", "localBytes", "durationMs", "deleted"}
	planFields      = []string{"snapshot", "parent", "action", "reason", "clusters", "deletedClusters"}
	deletedFields   = []string{"lvol", "clusters"}
	replicaFields   = []string{"base", "backingImage", "head", "snapshots", "others"}
	headFields      = []string{"parent", "sha256"}
	snapshotFields  = []string{"name", "parent", "allocatedClusters", "createdAt", "userCreated", "sha256"}
	otherFields     = []string{"name", "sha256"}
	violationFields = []string{"subject", "rule", "detail", "repairable"}
	onlineFields    = []string{"cut", "freezeMs", "freezes", "members", "lastSeen"}
	memberFields    = []string{"name", "head", "mode", "since"} // and reason, of ERR
	clientFields    = []string{"reads", "writes", "trims", "zeroes", "failed", "wrong", "longestMs", "differ"}
	runFields       = []string{"outcome", "error", "kept", "sealed", "copiedBytes", "localBytes", "durationMs", "faults"}
)

var (
	hexSum  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	actions = []string{"keep", "graft", "copy", "remove", "fetch-image", "create-entry-point", "move-entry-point", "create-head", "leave", "cut", "land"}
)

// printed decodes a result and checks its fields. Numbers stay as they were. simulate
// prints all checksums and a list of runs.
func printed(t *testing.T, stdout string, withViews bool) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(stdout))
	decoder.UseNumber()
	var object map[string]any
	require.NoError(t, decoder.Decode(&object), "%q", stdout)
	_, err := decoder.Token()
	require.ErrorIs(t, err, io.EOF, "one object and nothing else")

	fields := slices.Clone(resultFields)
	if withViews {
		fields = append(fields, "runs")
		runsAre(t, object)
	}
	fieldsAre(t, object, append(fields, onlineIs(t, object)...))
	require.Equal(t, "rebuild/v1", object["apiVersion"])
	require.Contains(t, []string{"complete", "refused", "failed"}, object["outcome"])
	require.Equal(t, object["outcome"] == "complete", object["error"] == "", "an error is said exactly where there is one")
	for _, field := range []string{"copiedBytes", "localBytes", "durationMs"} {
		require.Regexp(t, `^[0-9]+$`, object[field].(json.Number).String(), field)
	}
	for _, entry := range list(t, object, "plan") {
		fieldsAre(t, entry, planFields)
		require.Contains(t, actions, entry["action"])
		require.NotEmpty(t, entry["reason"])
	}
	for _, deleted := range list(t, object, "deleted") {
		fieldsAre(t, deleted, deletedFields)
		require.NotEmpty(t, deleted["lvol"])
	}
	for _, violation := range list(t, object, "violations") {
		fieldsAre(t, violation, violationFields)
	}
	for _, warning := range slices.Concat(object["warnings"].([]any), object["notices"].([]any)) {
		require.IsType(t, "", warning)
	}
	for _, side := range []string{"source", "destination"} {
		replicaIs(t, object[side].(map[string]any), withViews)
	}
	return object
}

// onlineIs checks what a rebuild under a live volume adds, and returns its fields.
func onlineIs(t *testing.T, object map[string]any) (fields []string) {
	t.Helper()
	if clients, ok := object["clients"]; ok {
		fieldsAre(t, clients.(map[string]any), clientFields)
		fields = append(fields, "clients")
	}
	if snapshot, ok := object["snapshot"]; ok {
		fieldsAre(t, snapshot.(map[string]any), []string{"name", "error", "freezeMs"})
		fields = append(fields, "snapshot")
	}
	online, ok := object["online"].(map[string]any)
	if !ok {
		return fields
	}
	fieldsAre(t, online, onlineFields)
	for _, m := range list(t, online, "members") {
		if m["mode"] == "ERR" {
			require.NotEmpty(t, m["reason"])
			delete(m, "reason")
		}
		fieldsAre(t, m, memberFields)
		require.Contains(t, []string{"RW", "WO", "ERR"}, m["mode"])
	}
	if _, several := object["sources"]; several {
		fields = append(fields, "sources")
	}
	return append(fields, "online")
}

// runsAre checks the runs; the result is the last one's.
func runsAre(t *testing.T, object map[string]any) {
	t.Helper()
	runs := list(t, object, "runs")
	require.NotEmpty(t, runs)
	for _, run := range runs {
		fieldsAre(t, run, runFields)
		require.Contains(t, []string{"complete", "refused", "failed"}, run["outcome"])
		require.Equal(t, run["outcome"] == "complete", run["error"] == "")
		for _, names := range []string{"kept", "sealed", "faults"} {
			for _, name := range run[names].([]any) {
				require.NotEmpty(t, name.(string))
			}
		}
	}
	for _, field := range []string{"outcome", "error", "copiedBytes", "localBytes", "durationMs"} {
		require.Equal(t, runs[len(runs)-1][field], object[field], field)
	}
}

func replicaIs(t *testing.T, replica map[string]any, withViews bool) {
	t.Helper()
	view := func(fields []string, object map[string]any) {
		t.Helper()
		if withViews {
			require.Regexp(t, hexSum, object["sha256"])
		} else {
			fields = slices.DeleteFunc(slices.Clone(fields), func(field string) bool { return field == "sha256" })
		}
		fieldsAre(t, object, fields)
	}
	fieldsAre(t, replica, replicaFields)
	require.IsType(t, "", replica["backingImage"])
	require.Regexp(t, `^(backing-image:.+|clone:.+@.+|none|)$`, replica["base"])
	if head := replica["head"]; head != nil {
		view(headFields, head.(map[string]any))
	}
	for _, snapshot := range list(t, replica, "snapshots") {
		view(snapshotFields, snapshot)
		require.IsType(t, true, snapshot["userCreated"])
	}
	for _, other := range list(t, replica, "others") {
		if _, read := other["sha256"]; withViews && !read {
			require.Contains(t, other["name"], "-rebuilding-", "a live head that a dead volume left")
			continue
		}
		view(otherFields, other)
	}
}

// list is a list of objects; an empty one is [], not null.
func list(t *testing.T, object map[string]any, field string) []map[string]any {
	t.Helper()
	require.IsType(t, []any{}, object[field], field)
	var objects []map[string]any
	for _, element := range object[field].([]any) {
		objects = append(objects, element.(map[string]any))
	}
	return objects
}

func fieldsAre(t *testing.T, object map[string]any, fields []string) {
	t.Helper()
	var found []string
	for field := range object {
		found = append(found, field)
	}
	require.ElementsMatch(t, fields, found)
}

func TestScenarioJSONKeepsContract(t *testing.T) {
	for _, file := range scenarioFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			told := engine(t, "simulate", file, "--output", "json")
			require.Empty(t, told.stderr)
			r := printed(t, told.stdout, true)
			if r["outcome"] == "complete" {
				require.Equal(t, exitDone, told.status)
				if !strings.Contains(file, "hurt") { // its own views lack the image
					require.Equal(t, viewsOf(t, r["source"]), viewsOf(t, r["destination"]))
				}
			} else {
				require.Equal(t, "refused", r["outcome"])
				require.Equal(t, exitFailed, told.status)
				require.Equal(t, json.Number("0"), r["copiedBytes"])
				require.Empty(t, r["plan"])
			}
			require.Empty(t, r["violations"])
		})
	}
}

func viewsOf(t *testing.T, replica any) map[string]any {
	t.Helper()
	views := make(map[string]any)
	for _, snapshot := range list(t, replica.(map[string]any), "snapshots") {
		views[snapshot["name"].(string)] = snapshot["sha256"]
	}
	views["the head"] = replica.(map[string]any)["head"].(map[string]any)["sha256"]
	return views
}

func TestJSONListsViolations(t *testing.T) {
	report := rebuild.Report{
		Outcome:    rebuild.OutcomeFailed,
		Violations: []rebuild.Violation{{Subject: "snap11", Rule: rebuild.RuleAncestorParent, Detail: "it has no parent", Repairable: true}},
	}
	var out, none bytes.Buffer
	failure := errors.New("verify:\none thing is wrong")
	err := streams{&out, &none}.conclude(outputJSON, failure, newResult(report, failure), "")
	require.ErrorContains(t, err, "verify")
	r := printed(t, out.String(), false)
	require.Equal(t, "verify: one thing is wrong", r["error"])
	require.Equal(t, []map[string]any{{"subject": "snap11", "rule": "ancestor-parent", "detail": "it has no parent", "repairable": true}}, list(t, r, "violations"))
	require.Empty(t, none.String())
}

func TestRefusalShowsBothReplicas(t *testing.T) {
	r := printed(t, engine(t, "simulate", "testdata/scenarios/foreign-clone.yaml", "--output", "json").stdout, true)
	require.Equal(t, "refused", r["outcome"])
	require.Len(t, list(t, r["source"].(map[string]any), "snapshots"), 1)
	destination := r["destination"].(map[string]any)
	require.Nil(t, destination["head"])
	require.Equal(t, "old", list(t, destination, "snapshots")[0]["name"])
	require.Equal(t, "vol-1-r-2-clone-ep-1", list(t, destination, "others")[0]["name"])
}

func TestSecondRunCopiesNothing(t *testing.T) {
	r := printed(t, engine(t, "simulate", "testdata/scenarios/two-runs.yaml", "--output", "json").stdout, true)
	require.Equal(t, "complete", r["outcome"])
	require.Equal(t, json.Number("0"), r["copiedBytes"])
	for _, entry := range list(t, r, "plan") {
		require.Equal(t, "keep", entry["action"])
	}
	// The first run took the system snapshot of the head, once.
	var frozen []string
	for _, snapshot := range list(t, r["destination"].(map[string]any), "snapshots") {
		if snapshot["userCreated"] == false {
			frozen = append(frozen, snapshot["name"].(string))
		}
	}
	require.Len(t, frozen, 1)
	require.Regexp(t, `^rebuild-[0-9a-f]{8}$`, frozen[0])
}

func TestHostWithoutRecordsShowsNoTimes(t *testing.T) {
	r := printed(t, engine(t, "simulate", "testdata/scenarios/upstream.yaml", "--output", "json").stdout, true)
	require.Equal(t, "complete", r["outcome"])
	for _, snapshot := range list(t, r["destination"].(map[string]any), "snapshots") {
		require.Equal(t, "", snapshot["createdAt"])
		require.Equal(t, true, snapshot["userCreated"])
	}
}
