package facts

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

// fact is one row.
type fact struct {
	name   string
	script string
}

// facts are all, by topic.
var facts = []struct {
	topic string
	rows  []fact
}{
	{"volumes and snapshots", volumes},
	{"after a restart", restarts},
	{"external snapshots", externals},
	{"locks", locks},
	{"parents", parents},
	{"entry points of linked clones", entryPoints},
	{"checksums and maps", checksums},
	{"the socket", sockets},
	{"stores", stores},
	// These need two targets.
	{"shallow copies", copies},
	{"NVMe-oF", fabrics},
	{"who uses an lvol", users},
	{"mirrors", mirrors},
	{"rebuilds under a live volume", live},
}

func TestSimulatedTargets(t *testing.T) {
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			t.Parallel()
			fabric := simtarget.NewFabric()
			start := func() *targettest.Target { return targettest.Simulate(t, fabric, flavour) }
			check(t, flavour.String(), start(), start)
		})
	}
}

func TestRealTargets(t *testing.T) {
	for _, binary := range targettest.Binaries(t) {
		t.Run(filepath.Base(filepath.Dir(binary)), func(t *testing.T) {
			t.Parallel()
			start := func() *targettest.Target { return targettest.Start(t, binary) }
			a := start()
			check(t, flavourOf(t, a), a, start)
		})
	}
}

// flavourOf is what the list of methods tells.
func flavourOf(t *testing.T, target *targettest.Target) string {
	var methods []string
	target.Call(t, "rpc_get_methods", nil, &methods)
	for _, method := range methods {
		if method == "bdev_lvol_get_xattr" {
			return simtarget.Fork.String()
		}
	}
	return simtarget.Upstream.String()
}

// check plays all facts. Each other target is started for the first one that needs it:
// a real one keeps a CPU busy.
func check(t *testing.T, flavour string, a *targettest.Target, start func() *targettest.Target) {
	number := 0
	others := make(map[string]func() *targettest.Target)
	for _, name := range otherSides {
		others[name] = sync.OnceValue(start)
	}
	for _, topic := range facts {
		t.Run(topic.topic, func(t *testing.T) {
			for _, row := range topic.rows {
				t.Run(row.name, func(t *testing.T) {
					number++
					own := fmt.Sprintf("fact-%d", number)
					s := &player{number: number, t: t, flavour: flavour, others: others, operations: make(map[string]any)}
					s.sides = map[string]*side{"A": {target: a, fact: own}}
					s.play(row.script)
				})
			}
		})
	}
}

// clusters of a fact's lvstore.
const clusters = 64

// player is plays a fact.
type player struct {
	number     int
	t          *testing.T
	flavour    string
	sides      map[string]*side
	others     map[string]func() *targettest.Target // for the other sides, which are there once they are needed
	operations map[string]any                       // of copies, by the name that the fact gives them
	dir        string                               // of files
	load       *targettest.Load                     // that goes on
	line       string
}

// otherSides are the names of the targets besides A.
var otherSides = []string{"B", "C"}

// side is one of the targets.
type side struct {
	target *targettest.Target
	fact   string // a name of the fact's own
	store  string // its lvstore, once the fact needs it
	port   string // that it listens on
	gone   bool   // it hangs or has died
}

func (s *player) play(script string) {
	defer s.revive()
	defer func() {
		if s.load != nil {
			s.load.Stop()
		}
	}()
	for line := range strings.Lines(script) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		s.line = line
		if flavour, rest, ok := strings.Cut(line, ": "); ok && (flavour == "fork" || flavour == "upstream") {
			if flavour != s.flavour {
				continue
			}
			line = rest
		}
		at := s.sides["A"]
		if name, rest, ok := strings.Cut(line, ": "); ok && slices.Contains(otherSides, name) {
			if s.sides[name] == nil {
				s.sides[name] = &side{target: s.others[name](), fact: at.fact}
			}
			at, line = s.sides[name], rest
		}
		if at.store == "" {
			at.store = at.target.NewStore(s.t, clusters)
		}
		s.do(at, line)
	}
}

// revive starts again what the fact has brought to its end, so that what it has
// made can be removed.
func (s *player) revive() {
	for _, at := range s.sides {
		if at.gone || s.t.Failed() { // which may have left it hanging
			at.target.Restart(s.t)
		}
	}
}

// do plays one line.
func (s *player) do(at *side, line string) {
	said, wanted, _ := strings.Cut(line, "=>")
	var calls []call
	for _, text := range strings.Split(said, " ; ") {
		fields := strings.Fields(text)
		if verb, ok := verbs[fields[0]]; ok {
			calls = append(calls, call{answer: verb(s, at, fields[1:])})
			continue
		}
		calls = append(calls, s.call(at, rewrite(fields)))
	}
	answers := s.ask(at, calls)
	var expected []string
	if strings.TrimSpace(wanted) != "" {
		expected = strings.Split(wanted, " ; ")
		require.Len(s.t, expected, len(calls), "%s", s.line)
	}
	for i, answer := range answers {
		want := ""
		if expected != nil {
			want = at.names(strings.TrimSpace(expected[i]))
		}
		s.expect(want, answer)
	}
	for _, answer := range answers {
		at.gone = at.gone || answer.failed == noAnswer || answer.failed == died
	}
}

// call is one that is to be asked, or an answer that is there already.
type call struct {
	method string
	params map[string]any
	answer *answer
}

// answer is a result, an error, or none.
type answer struct {
	result any
	failed string // code and message, or noAnswer, or died; "": it worked
}

const (
	noAnswer = "no answer"
	died     = "dies"
)

// patience is how long an answer may take, and how long one is waited for that is
// not to come.
func (s *player) patience(at *side) time.Duration {
	switch {
	case !strings.Contains(s.line, noAnswer):
		return 30 * time.Second
	case at.target.Simulated() != nil:
		return 100 * time.Millisecond
	}
	return 2 * time.Second
}

// ask writes the calls at once.
func (s *player) ask(at *side, calls []call) []*answer {
	answers := make([]*answer, len(calls))
	var out []byte
	left := 0
	for i, c := range calls {
		if c.answer != nil {
			answers[i] = c.answer
			continue
		}
		message := map[string]any{"jsonrpc": "2.0", "id": i, "method": c.method}
		if c.params != nil {
			message["params"] = c.params
		}
		text, err := json.Marshal(message)
		require.NoError(s.t, err)
		out = append(out, text...)
		left++
	}
	if left == 0 {
		return answers
	}
	conn, err := net.Dial("unix", at.target.Socket)
	require.NoError(s.t, err)
	defer conn.Close()
	require.NoError(s.t, conn.SetDeadline(time.Now().Add(s.patience(at))))
	_, err = conn.Write(out)
	require.NoError(s.t, err)
	decoder := json.NewDecoder(conn)
	decoder.UseNumber()
	for ; left > 0; left-- {
		var got struct {
			ID     int
			Result any
			Error  *struct {
				Code    int
				Message string
			}
		}
		err := decoder.Decode(&got)
		if err != nil {
			failed := died
			if errors.Is(err, os.ErrDeadlineExceeded) {
				failed = noAnswer
			}
			for i := range answers {
				if answers[i] == nil {
					answers[i] = &answer{failed: failed}
				}
			}
			return answers
		}
		answers[got.ID] = &answer{result: got.Result}
		if got.Error != nil {
			answers[got.ID].failed = fmt.Sprintf("%d %s", got.Error.Code, got.Error.Message)
		}
	}
	return answers
}

// expect compares an answer with what is written down; "" is anything that works.
func (s *player) expect(want string, got *answer) {
	switch {
	case want == "any": // it may have been refused
	case strings.HasSuffix(want, " or no answer"):
		require.Contains(s.t, []string{"", noAnswer}, got.failed, "%s", s.line)
	case want == "":
		require.Empty(s.t, got.failed, "%s", s.line)
	case want[0] == '-' || want == noAnswer || want == died || strings.HasPrefix(want, "22 "):
		require.Contains(s.t, strings.Split(strings.ReplaceAll(want, " or -", "\n-"), "\n"), got.failed, "%s\nresult %v", s.line, got.result)
	default:
		require.Empty(s.t, got.failed, "%s", s.line)
		var wanted any
		decoder := json.NewDecoder(strings.NewReader(want))
		decoder.UseNumber()
		require.NoError(s.t, decoder.Decode(&wanted), "%s", s.line)
		if difference := lacks(got.result, wanted); difference != "" {
			text, _ := json.Marshal(got.result)
			require.Fail(s.t, "another answer", "%s\nanswer: %s\n%s", s.line, text, difference)
		}
	}
}

// lacks tells what of the wanted is not there. null is wanted of a key that must
// not be there.
func lacks(got, wanted any) string {
	switch wanted := wanted.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%v is no object", got)
		}
		for key, value := range wanted {
			there, ok := object[key]
			if value == nil {
				if ok {
					return fmt.Sprintf("%s is there: %v", key, there)
				}
				continue
			}
			if !ok {
				return key + " is not there"
			}
			if difference := lacks(there, value); difference != "" {
				return key + ": " + difference
			}
		}
		return ""
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(wanted) {
			return fmt.Sprintf("%v instead of %v", got, wanted)
		}
		for i := range wanted {
			if difference := lacks(list[i], wanted[i]); difference != "" {
				return fmt.Sprintf("%d: %s", i, difference)
			}
		}
		return ""
	}
	if fmt.Sprint(got) != fmt.Sprint(wanted) {
		return fmt.Sprintf("%v instead of %v", got, wanted)
	}
	return ""
}

// call reads "method key=value …". Values are JSON where they can be, else text.
func (s *player) call(at *side, fields []string) call {
	c := call{method: fields[0]}
	for _, field := range fields[1:] {
		key, value, ok := strings.Cut(field, "=")
		require.True(s.t, ok, "%s: %s", s.line, field)
		if c.params == nil {
			c.params = make(map[string]any)
		}
		c.params[key] = s.value(at, value)
	}
	return c
}

func (s *player) value(at *side, text string) any {
	text = at.names(text)
	if repeated, ok := strings.CutPrefix(text, "x*"); ok {
		var n int
		_, err := fmt.Sscan(repeated, &n)
		require.NoError(s.t, err)
		return strings.Repeat("x", n)
	}
	var value any
	if json.Unmarshal([]byte(text), &value) == nil {
		return value
	}
	return text
}

// names puts names in: STORE is the side's lvstore, @x the alias of its lvol x, ~x
// a name that no other fact has, NQN that of a subsystem.
func (at *side) names(text string) string {
	return strings.NewReplacer("STORE", at.store, "@", at.store+"/", "~", at.fact+"-",
		"NQN", "nqn.2026-01.com.example:"+at.fact, "PORT", at.port).Replace(text)
}
