package scenario_test

import (
	"strings"
	"testing"

	"github.com/rootgraft/rebuild/internal/scenario"
)

// with is smallest with other lines instead of "source: {}".
func with(lines ...string) string {
	return strings.Replace(smallest, "source: {}\n", strings.Join(lines, "\n")+"\n", 1)
}

// volume is smallest with another volume.
func volume(text string) string {
	return strings.Replace(smallest, "{name: vol-1, size: 16MiB}", text, 1)
}

func TestInvalidFieldsRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, message string }{
		"an unknown field at the top":          {smallest + "sauce: {}\n", `f.yaml:4: unknown field "sauce", expected one of apiVersion, volume, backingImage, base, source, destination, options, online, runs, faults`},
		"an unknown field deep inside":         {with(`source:`, `  snapshots:`, `    - {name: a, writes: [{offest: 0}]}`), `f.yaml:5: source.snapshots[0].writes[0]: unknown field "offest", expected one of offset, length, seed`},
		"a merge key":                          {with(`source: {<<: {hurt: true}}`), `f.yaml:3: source: unknown field "<<", expected one of replica, hurt, snapshots, head`},
		"a field of many bytes":                {with(`source: {` + strings.Repeat("ä", 999) + `: 1}`), `f.yaml:3: source: unknown field "` + strings.Repeat("ä", 60) + `"…, expected one of replica, hurt, snapshots, head`},
		"a field that is no text":              {with(`source: {[a]: 1}`), `f.yaml:3: source: expected the name of a field, got a list`},
		"a field that is given twice":          {with(`source: {}`, `volume: {name: vol-2}`), `f.yaml:4: volume: given twice, first on line 2`},
		"a field given twice deep inside":      {with(`source:`, `  head:`, `    writes: []`, `    writes: []`), `f.yaml:6: source.head.writes: given twice, first on line 5`},
		"no volume":                            {"apiVersion: rebuild/v1\nsource: {}\n", `f.yaml:1: volume: missing, expected a mapping with the fields name, size, clusterSize`},
		"no source":                            {with(), `f.yaml:1: source: missing, expected a mapping with the fields replica, hurt, snapshots, head`},
		"a source of nothing":                  {with(`source:`), `f.yaml:3: source: missing, expected a mapping with the fields replica, hurt, snapshots, head`},
		"a source that is a list":              {with(`source: []`), `f.yaml:3: source: expected a mapping with the fields replica, hurt, snapshots, head, got a list`},
		"snapshots that are a mapping":         {with(`source: {snapshots: {}}`), `f.yaml:3: source.snapshots: expected a list of snapshots, got a mapping`},
		"a snapshot that is a text":            {with(`source: {snapshots: [snap11]}`), `f.yaml:3: source.snapshots[0]: expected a mapping with the fields name, parent, size, createdAt, userCreated, writes, got "snap11"`},
		"a snapshot of nothing":                {with(`source:`, `  snapshots:`, `    -`), `f.yaml:5: source.snapshots[0]: expected one of the snapshots, got nothing`},
		"a snapshot without a name":            {with(`source:`, `  snapshots:`, `    - {name: a}`, `    - parent: a`), `f.yaml:6: source.snapshots[1].name: missing, expected a name`},
		"a snapshot with an empty name":        {with(`source: {snapshots: [{name: ""}]}`), `f.yaml:3: source.snapshots[0].name: expected a name, got ""`},
		"a name that is a list":                {with(`source: {snapshots: [{name: [a]}]}`), `f.yaml:3: source.snapshots[0].name: expected a name, got a list`},
		"a name with a tag":                    {with(`source: {snapshots: [{name: !secret a}]}`), `f.yaml:3: source.snapshots[0].name: expected a name, got a value with the tag "!secret"`},
		"a parent of nothing":                  {with(`source: {snapshots: [{name: a, parent: ~}]}`), `f.yaml:3: source.snapshots[0].parent: expected the name of a snapshot, or none, got nothing`},
		"a base that is a text":                {smallest + "base: vol-9\n", `f.yaml:4: base: expected a mapping with the fields volume, snapshot, backingImage, snapshots, destination, got "vol-9"`},
		"an unknown field of a base":           {smallest + "base: {volume: vol-9, size: 1MiB}\n", `f.yaml:4: base: unknown field "size", expected one of volume, snapshot, backingImage, snapshots, destination`},
		"a base without a volume":              {smallest + "base: {snapshot: s, snapshots: [{name: s}]}\n", `f.yaml:4: base.volume: missing, expected the name of a volume`},
		"a base without a snapshot":            {smallest + "base: {volume: vol-9, snapshots: [{name: s}]}\n", `f.yaml:4: base.snapshot: missing, expected the name of a snapshot`},
		"a base without snapshots":             {smallest + "base: {volume: vol-9, snapshot: s}\n", `f.yaml:4: base.snapshots: missing, expected a list of snapshots`},
		"an unknown field of its snapshot":     {smallest + "base: {volume: vol-9, snapshot: s, snapshots: [{name: s, like: source}]}\n", `f.yaml:4: base.snapshots[0]: unknown field "like", expected one of name, parent, size, createdAt, userCreated, writes`},
		"an unknown field of its image":        {smallest + "base: {volume: vol-9, snapshot: s, snapshots: [{name: s}], backingImage: {name: os, uuid: x}}\n", `f.yaml:4: base.backingImage: unknown field "uuid", expected one of name, size, writes, file`},
		"an unknown state of a base":           {smallest + "base: {volume: vol-9, snapshot: s, snapshots: [{name: s}], destination: gone}\n", `f.yaml:4: base.destination: expected present, no-entry-point, no-snapshot, absent, or a mapping with the field snapshots, got "gone"`},
		"an unknown field of another tree":     {smallest + "base: {volume: vol-9, snapshot: s, snapshots: [{name: s}], destination: {head: {}}}\n", `f.yaml:4: base.destination: unknown field "head", expected one of snapshots`},
		"another tree without snapshots":       {smallest + "base: {volume: vol-9, snapshot: s, snapshots: [{name: s}], destination: {}}\n", `f.yaml:4: base.destination.snapshots: missing, expected a list of snapshots`},
		"a write that is a number":             {with(`source: {head: {writes: [1]}}`), `f.yaml:3: source.head.writes[0]: expected a mapping with the fields offset, length, seed, got "1"`},
		"a write without a length":             {with(`source: {head: {writes: [{offset: 0, seed: 1}]}}`), `f.yaml:3: source.head.writes[0].length: missing, expected a size such as 1MiB`},
		"a write without an offset":            {with(`source: {head: {writes: [{length: 0, seed: 1}]}}`), `f.yaml:3: source.head.writes[0].offset: missing, expected a size such as 0 or 1MiB`},
		"a write without a seed":               {with(`source: {head: {writes: [{offset: 0, length: 1}]}}`), `f.yaml:3: source.head.writes[0].seed: missing, expected a whole number of at least 0`},
		"a seed that is a text":                {with(`source: {snapshots: [{name: a}, {name: b, parent: a, writes: [{offset: 0, length: 1, seed: abc}]}]}`), `f.yaml:3: source.snapshots[1].writes[0].seed: expected a whole number of at least 0, got "abc"`},
		"a seed in quotes":                     {with(`source: {head: {writes: [{offset: 0, length: 1, seed: "12"}]}}`), `f.yaml:3: source.head.writes[0].seed: expected a whole number of at least 0, got the text "12"`},
		"a seed below 0":                       {with(`source: {head: {writes: [{offset: 0, length: 1, seed: -1}]}}`), `f.yaml:3: source.head.writes[0].seed: expected a whole number of at least 0, got "-1"`},
		"a seed with a fraction":               {with(`source: {head: {writes: [{offset: 0, length: 1, seed: 1.5}]}}`), `f.yaml:3: source.head.writes[0].seed: expected a whole number of at least 0, got "1.5"`},
		"a seed of more than 64 bits":          {with(`source: {head: {writes: [{offset: 0, length: 1, seed: 18446744073709551616}]}}`), `f.yaml:3: source.head.writes[0].seed: expected a whole number of at most 18446744073709551615, got "18446744073709551616"`},
		"an offset below 0":                    {with(`source: {head: {writes: [{offset: -1, length: 1, seed: 1}]}}`), `f.yaml:3: source.head.writes[0].offset: expected a size in bytes, KiB, MiB, GiB or TiB, such as 16MiB, got "-1"`},
		"a length below 0":                     {with(`source: {head: {writes: [{offset: 0, length: -1MiB, seed: 1}]}}`), `f.yaml:3: source.head.writes[0].length: expected a size in bytes, KiB, MiB, GiB or TiB, such as 16MiB, got "-1MiB"`},
		"a volume without a size":              {volume(`{name: vol-1}`), `f.yaml:2: volume.size: missing, expected a size such as 16MiB`},
		"a size in words":                      {volume(`{name: vol-1, size: 16 megabytes}`), `f.yaml:2: volume.size: expected a size in bytes, KiB, MiB, GiB or TiB, such as 16MiB, got "16 megabytes"`},
		"a size in decimal units":              {volume(`{name: vol-1, size: 16MB}`), `f.yaml:2: volume.size: expected a size in bytes, KiB, MiB, GiB or TiB, such as 16MiB, got "16MB"`},
		"a size with a fraction":               {volume(`{name: vol-1, size: 1.5GiB}`), `f.yaml:2: volume.size: expected a size in bytes, KiB, MiB, GiB or TiB, such as 16MiB, got "1.5GiB"`},
		"a size in hexadecimal":                {volume(`{name: vol-1, size: 0x1000000}`), `f.yaml:2: volume.size: expected a size in bytes, KiB, MiB, GiB or TiB, such as 16MiB, got "0x1000000"`},
		"a size that is a list":                {volume(`{name: vol-1, size: []}`), `f.yaml:2: volume.size: expected a size in bytes, KiB, MiB, GiB or TiB, such as 16MiB, got a list`},
		"a size of nothing":                    {volume(`{name: vol-1, size: 0}`), `f.yaml:2: volume.size: expected a size of more than 0 bytes, got "0"`},
		"a size beyond 64 TiB":                 {volume(`{name: vol-1, size: 65TiB}`), `f.yaml:2: volume.size: expected a size of at most 64TiB, got "65TiB"`},
		"an EiB":                               {volume(`{name: vol-1, size: 1048576TiB}`), `f.yaml:2: volume.size: expected a size of at most 64TiB, got "1048576TiB"`},
		"a size beyond 64 bits":                {volume(`{name: vol-1, size: 99999999999999999999GiB}`), `f.yaml:2: volume.size: expected a size of at most 64TiB, got "99999999999999999999GiB"`},
		"a size that 64 bits wrap":             {volume(`{name: vol-1, size: 16777217TiB}`), `f.yaml:2: volume.size: expected a size of at most 64TiB, got "16777217TiB"`},
		"a time without a zone":                {with(`source: {snapshots: [{name: a, createdAt: 2026-01-01 00:00:00}]}`), `f.yaml:3: source.snapshots[0].createdAt: expected a time in RFC 3339 such as 2026-01-31T12:00:00Z, from 1970 on, got "2026-01-01 00:00:00"`},
		"a time before 1970":                   {with(`source: {snapshots: [{name: a, createdAt: 0001-01-01T00:00:00Z}]}`), `f.yaml:3: source.snapshots[0].createdAt: expected a time in RFC 3339 such as 2026-01-31T12:00:00Z, from 1970 on, got "0001-01-01T00:00:00Z"`},
		"a flag that is a word":                {with(`source: {hurt: yes}`), `f.yaml:3: source.hurt: expected true or false, got "yes"`},
		"a flag in quotes":                     {with(`source: {hurt: "true"}`), `f.yaml:3: source.hurt: expected true or false, got the text "true"`},
		"a tag that lies":                      {with(`source: {hurt: !!bool maybe}`), `f.yaml:3: source.hurt: expected true or false, got "maybe"`},
		"a head that is a text":                {with(`source: {head: snap11}`), `f.yaml:3: source.head: expected a mapping with the fields parent, writes, got "snap11"`},
		"a head with a name":                   {with(`source: {head: {name: x}}`), `f.yaml:3: source.head: unknown field "name", expected one of parent, writes`},
		"like in the source":                   {with(`source: {snapshots: [{name: a, like: source}]}`), `f.yaml:3: source.snapshots[0]: unknown field "like", expected one of name, parent, size, createdAt, userCreated, writes`},
		"like something else":                  {with(`source: {}`, `destination: {snapshots: [{name: a, like: snap11}]}`), `f.yaml:4: destination.snapshots[0].like: expected source, got "snap11"`},
		"an unknown flavour":                   {with(`source: {}`, `destination: {flavour: vanilla}`), `f.yaml:4: destination.flavour: expected fork or upstream, got "vanilla"`},
		"an unknown state of the image":        {with(`source: {}`, `destination: {image: lost}`), `f.yaml:4: destination.image: expected present, absent, or a mapping with the fields uuid, size, writes, got "lost"`},
		"an image that is a list":              {with(`source: {}`, `destination: {image: []}`), `f.yaml:4: destination.image: expected present, absent, or a mapping with the fields uuid, size, writes, got a list`},
		"a number of clusters in words":        {with(`source: {}`, `destination: {freeClusters: plenty}`), `f.yaml:4: destination.freeClusters: expected a whole number of at least 0, got "plenty"`},
		"an lvol without a name":               {with(`source: {}`, `destination: {lvols: [{}]}`), `f.yaml:4: destination.lvols[0].name: missing, expected a full name`},
		"an lvol with a creation time":         {with(`source: {}`, `destination: {lvols: [{name: a, createdAt: now}]}`), `f.yaml:4: destination.lvols[0]: unknown field "createdAt", expected one of name, parent, size, snapshot, writes`},
		"no copies at a time":                  {smallest + "options: {parallel: 0}\n", `f.yaml:4: options.parallel: expected a whole number from 1 to 1024, got "0"`},
		"too many copies at a time":            {smallest + "options: {parallel: 1025}\n", `f.yaml:4: options.parallel: expected a whole number from 1 to 1024, got "1025"`},
		"an unknown option":                    {smallest + "options: {verbose: true}\n", `f.yaml:4: options: unknown field "verbose", expected one of fast, parallel, acceptHurtSource, overwrite`},
		"no runs":                              {smallest + "runs: 0\n", `f.yaml:4: runs: expected a whole number from 1 to 100, got "0"`},
		"too many runs":                        {smallest + "runs: 101\n", `f.yaml:4: runs: expected a whole number from 1 to 100, got "101"`},
		"faults that are a mapping":            {smallest + "faults: {call: copy}\n", `f.yaml:4: faults: expected a list of faults, got a mapping`},
		"a fault of nothing":                   {smallest + "faults: [~]\n", `f.yaml:4: faults[0]: expected one of the faults, got nothing`},
		"online that is a word":                {smallest + "online: true\n", `f.yaml:4: online: expected a mapping with the fields members, writers, seed, freezeLimit, dies, snapshot, got "true"`},
		"an unknown field of online":           {smallest + "online: {readers: 2}\n", `f.yaml:4: online: unknown field "readers", expected one of members, writers, seed, freezeLimit, dies, snapshot`},
		"no member":                            {smallest + "online: {members: 0}\n", `f.yaml:4: online.members: expected a whole number from 1 to 4, got "0"`},
		"five members":                         {smallest + "online: {members: 5}\n", `f.yaml:4: online.members: expected a whole number from 1 to 4, got "5"`},
		"too many writers":                     {smallest + "online: {writers: 65}\n", `f.yaml:4: online.writers: expected a whole number from 1 to 64, got "65"`},
		"a negative seed of clients":           {smallest + "online: {seed: -1}\n", `f.yaml:4: online.seed: expected a whole number of at least 0, got "-1"`},
		"a freeze without a unit":              {smallest + "online: {freezeLimit: 5}\n", `f.yaml:4: online.freezeLimit: expected a time from 1ms to 1m0s, such as 500ms, got "5"`},
		"a freeze of hours":                    {smallest + "online: {freezeLimit: 2h}\n", `f.yaml:4: online.freezeLimit: expected a time from 1ms to 1m0s, such as 500ms, got "2h"`},
		"a death without a member":             {smallest + "online: {dies: {call: copy}}\n", `f.yaml:4: online.dies.member: missing, expected a whole number from 1 to 4`},
		"a death of nobody":                    {smallest + "online: {dies: {member: 3, call: copy}}\n", `f.yaml:4: online.dies.member: expected a member from 1 to 2, the number of members, got 3`},
		"a death without a call":               {smallest + "online: {dies: {member: 1}}\n", `f.yaml:4: online.dies.call: missing, expected one of list, look, prove, release, offer, show, snapshot, peer, copy, create, receive, withdraw, graft, seal, clone, delete, record, connect, graft-external, rename`},
		"a death at an unknown call":           {smallest + "online: {dies: {member: 1, call: sleep}}\n", `f.yaml:4: online.dies.call: expected one of list, look, prove, release, offer, show, snapshot, peer, copy, create, receive, withdraw, graft, seal, clone, delete, record, connect, graft-external, rename, got "sleep"`},
		"a death at call 0":                    {smallest + "online: {dies: {member: 1, call: copy, nth: 0}}\n", `f.yaml:4: online.dies.nth: expected a whole number from 1 to 1000000, got "0"`},
		"a snapshot meanwhile without a name":  {smallest + "online: {snapshot: {call: copy}}\n", `f.yaml:4: online.snapshot.name: missing, expected a name`},
		"a snapshot meanwhile at no call":      {smallest + "online: {snapshot: {name: a, call: nap}}\n", `f.yaml:4: online.snapshot.call: expected one of list, look, prove, release, offer, show, snapshot, peer, copy, create, receive, withdraw, graft, seal, clone, delete, record, connect, graft-external, rename, got "nap"`},
		"a snapshot meanwhile of a taken name": {with("source: {snapshots: [{name: a}]}", "online: {snapshot: {name: a, call: copy}}"), `f.yaml:4: online.snapshot.name: expected the name of a new snapshot, got "a"`},
		"a fault without a call":               {smallest + "faults: [{error: busy}]\n", `f.yaml:4: faults[0].call: missing, expected one of list, look, prove, release, offer, show, snapshot, peer, copy, create, receive, withdraw, graft, seal, clone, delete, record, connect, graft-external, rename`},
		"an unknown call":                      {smallest + "faults: [{call: seal, error: busy}, {call: shutdown, error: busy}]\n", `f.yaml:4: faults[1].call: expected one of list, look, prove, release, offer, show, snapshot, peer, copy, create, receive, withdraw, graft, seal, clone, delete, record, connect, graft-external, rename, got "shutdown"`},
		"a fault without an error":             {smallest + "faults: [{call: copy}]\n", `f.yaml:4: faults[0].error: missing, expected one of unavailable, busy, no-space, not-found, timeout, answer-lost, cut-off, missing-cluster, extra-cluster, other-bytes, other-place; or crash`},
		"an unknown error":                     {smallest + "faults: [{call: copy, error: eio}]\n", `f.yaml:4: faults[0].error: expected one of unavailable, busy, no-space, not-found, timeout, answer-lost, cut-off, missing-cluster, extra-cluster, other-bytes, other-place, got "eio"`},
		"an error that only copies have":       {smallest + "faults: [{call: seal, error: cut-off}]\n", `f.yaml:4: faults[0].error: expected an error of seal, but "cut-off" is an error of copy only`},
		"a side that is none":                  {smallest + "faults: [{call: look, error: busy, side: left}]\n", `f.yaml:4: faults[0].side: expected source or destination, got "left"`},
		"a side that has no such call":         {smallest + "faults: [{call: copy, error: busy, side: destination}]\n", `f.yaml:4: faults[0].side: expected source, since a rebuild calls copy only there, got "destination"`},
		"a call before the first":              {smallest + "faults: [{call: copy, error: busy, nth: 0}]\n", `f.yaml:4: faults[0].nth: expected a whole number from 1 to 1000000, got "0"`},
		"a fault that strikes no times":        {smallest + "faults: [{call: copy, error: busy, times: 0}]\n", `f.yaml:4: faults[0].times: expected a whole number from 1 to 1000000, got "0"`},
		"a fault of a run that is not played":  {smallest + "faults: [{call: copy, error: busy, run: 2}]\n", `f.yaml:4: faults[0].run: expected a run from 1 to 1, the number of runs, got 2`},
		"a crash and an error":                 {smallest + "faults: [{crash: {call: copy}, error: busy}]\n", `f.yaml:4: faults[0].error: expected crash alone, which has its own fields: call, nth, side, run, of, after`},
		"a crash that is a word":               {smallest + "faults: [{crash: engine}]\n", `f.yaml:4: faults[0].crash: expected a mapping with the fields call, nth, side, run, of, after, got "engine"`},
		"a crash of nothing":                   {smallest + "faults: [{crash: }]\n", `f.yaml:4: faults[0].crash: missing, expected a mapping with the fields call, nth, side, run, of, after`},
		"a crash of somebody else":             {smallest + "faults: [{crash: {call: copy, of: disk}}]\n", `f.yaml:4: faults[0].crash.of: expected engine or target, got "disk"`},
		"a crash at an unknown call":           {smallest + "faults: [{crash: {call: umount}}]\n", `f.yaml:4: faults[0].crash.call: expected one of list, look, prove, release, offer, show, snapshot, peer, copy, create, receive, withdraw, graft, seal, clone, delete, record, connect, graft-external, rename, got "umount"`},
		"a crash with an error":                {smallest + "faults: [{crash: {call: copy, error: busy}}]\n", `f.yaml:4: faults[0].crash: unknown field "error", expected one of call, nth, side, run, of, after`},
		"a crash on the other side":            {smallest + "faults: [{crash: {call: seal, side: source}}]\n", `f.yaml:4: faults[0].crash.side: expected destination, since a rebuild calls seal only there, got "source"`},
		"too many faults":                      {smallest + "faults: [" + strings.Repeat("{call: copy, error: busy},", 1001) + "]\n", `f.yaml:4: faults: expected at most 1000 faults, got 1001`},
		"an image without a size":              {with(`source: {}`, `backingImage: {name: base}`), `f.yaml:4: backingImage.size: missing, expected a size such as 8MiB, or file`},
		"an image without a name":              {with(`source: {}`, `backingImage: {size: 1MiB}`), `f.yaml:4: backingImage.name: missing, expected a name`},
		"an image with file and size":          {with(`source: {}`, `backingImage: {name: base, file: disk.img, size: 1MiB}`), `f.yaml:4: backingImage.size: expected either file, or size and writes, got both`},
		"an image with file and writes":        {with(`source: {}`, `backingImage: {name: base, file: disk.img, writes: []}`), `f.yaml:4: backingImage.writes: expected either file, or size and writes, got both`},
		"a broken line in JSON":                {"{\"apiVersion\": \"rebuild/v1\",\n \"volume\": {\"name\": \"v\", \"size\": true}}", `f.yaml:2: volume.size: expected a size in bytes, KiB, MiB, GiB or TiB, such as 16MiB, got "true"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := scenario.ParseBytes("f.yaml", "", []byte(c.text))
			requireProblem(t, err, c.message)
		})
	}
}
