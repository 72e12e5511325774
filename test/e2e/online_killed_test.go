package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/freezer"
	"github.com/rootgraft/rebuild/spdkhost"
)

// killedRebuild is a rebuild in a process of its own, which kills itself at a moment.
type killedRebuild struct {
	Home, RAID  string
	Members     []killedReplica
	Destination killedReplica
	Kind        rebuild.EventKind
	Stage       rebuild.Stage
	Verb        rebuild.Verb // "": any
}

type killedReplica struct{ Socket, Lvstore, Replica string }

// killedEnv has the killedRebuild for a process of the test binary.
const killedEnv = "REBUILD_E2E_KILLED"

// rebuildUntilKilled has a process rebuild, which is killed at a moment.
func (v *liveVolume) rebuildUntilKilled(t *testing.T, m moment) {
	t.Helper()
	of := func(r liveReplica) killedReplica { return killedReplica{r.target.Socket, r.lvstore, r.name} }
	k := killedRebuild{Home: v.home.Socket, RAID: v.exported.RAID, Destination: of(v.destination), Kind: m.kind, Stage: m.stage, Verb: m.verb}
	for _, p := range v.members {
		k.Members = append(k.Members, of(p))
	}
	text, err := json.Marshal(k)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killedEnv+"="+string(text))
	output, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "%s", output)
	status, _ := exit.Sys().(syscall.WaitStatus)
	require.Equal(t, syscall.SIGKILL, status.Signal(), "%s", output)
}

func runKilledRebuild(text string) error {
	var k killedRebuild
	if err := json.Unmarshal([]byte(text), &k); err != nil {
		return err
	}
	ctx := context.Background()
	mirror, err := spdkhost.OpenMirror(ctx, spdkhost.MirrorConfig{Socket: k.Home, RAID: k.RAID})
	if err != nil {
		return err
	}
	r := rebuild.OnlineRequest{Mirror: mirror, Freezer: freezer.Func(mirror.Suspend, mirror.Resume)}
	r.Options.ReservePercent = 1
	r.Observer = onceAt(moment{kind: k.Kind, stage: k.Stage, verb: k.Verb}, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) })
	if r.Destination, err = k.Destination.open(ctx); err != nil {
		return err
	}
	for _, m := range k.Members {
		site, err := m.open(ctx)
		if err != nil {
			return err
		}
		r.MoreSources = append(r.MoreSources, site)
	}
	r.Source, r.MoreSources = r.MoreSources[0], r.MoreSources[1:]
	report, err := rebuild.New().RebuildOnline(ctx, r)
	return errors.Join(err, fmt.Errorf("the moment did not come: %s", report.Outcome))
}

func (r killedReplica) open(ctx context.Context) (rebuild.Site, error) {
	host, err := spdkhost.Open(ctx, spdkhost.Config{Socket: r.Socket, Lvstore: r.Lvstore})
	return rebuild.Site{Host: host, Replica: r.Replica}, err
}
