package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/spdkhost"
)

// A target that is stopped in the middle of a copy and answers nobody ends its rebuild;
// another rebuild, from the same source, continues. When the target answers again, no
// manual cleanup is needed.
func TestField_HangingTarget(t *testing.T) {
	onEach(t, between, func(t *testing.T, from, to *targettest.Target) {
		for _, side := range []string{"destination", "source"} {
			t.Run(side, func(t *testing.T) { hangInTheMiddle(t, from, to, side == "source") })
		}
	})
}

// promised is how long a rebuild may run without one of its hosts.
const promised = 15 * time.Second

func hangInTheMiddle(t *testing.T, from, to *targettest.Target, sourceHangs bool) {
	source, destination := newChain(t, from, to)
	hangs, lives := to, from
	if sourceHangs {
		hangs, lives = from, to
	}
	p := program.startRebuild(t, source.address(chainFrom), destination.address(chainTo), "--parallel", "1")
	await(t, p, "a copy was under way", func() bool {
		_, filling := destination.filling(t, chainTo)
		return filling
	})
	hangs.Pause(t)
	defer hangs.Resume(t)
	stopped := time.Now()

	// The other target serves other rebuilds meanwhile.
	aside := newPlace(t, lives, storeClusters)
	asideTo := newPlace(t, lives, storeClusters)
	aside.importImage(t, noises(7, 2))
	asideTo.importImage(t, noises(7, 2))
	aside.growChain(t, "vol-2-r-0a1b2c3d")
	r := program.mustRebuild(t, aside.address("vol-2-r-0a1b2c3d"), asideTo.address("vol-2-r-4e5f6a7b"))
	require.Len(t, r.Destination.Snapshots, chainLength)
	t.Logf("another rebuild was whole after %v", time.Since(stopped).Round(10*time.Millisecond))

	requireFailed(t, p, "a target hung in the middle of a copy")
	t.Logf("it took %v of the %v that are promised", time.Since(stopped).Round(10*time.Millisecond), promised)
	hangs.Resume(t)
	to.LimitWrites(t, destination.lvstore, 0)
	program.mustRebuild(t, source.address(chainFrom), destination.address(chainTo))
	requireRebuilt(t, source, chainFrom, destination, chainTo)
	source.requireAsItWas(t, chainFrom)
}

// The same for rebuilds that share an engine and its connections.
func TestField_HangingTargetInOneProcess(t *testing.T) {
	onEach(t, between, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newChain(t, from, to)
		beside := newPlace(t, from, storeClusters)
		beside.importImage(t, noises(7, 2))
		source.growChain(t, "vol-2-r-0a1b2c3d")
		from.LimitWrites(t, beside.lvstore, chainMiBSecond)

		engine := rebuild.New(rebuild.WithLogger(zaptest.NewLogger(t)))
		open := func(p *place) *spdkhost.Host {
			host, err := spdkhost.Open(t.Context(), spdkhost.Config{Socket: p.target.Socket, Lvstore: p.lvstore})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, host.Close()) })
			return host
		}
		a, b, c := open(source), open(destination), open(beside)
		start := func(from, to rebuild.Site) (copying <-chan struct{}, ended <-chan error) {
			began, over := make(chan struct{}), make(chan error, 1)
			go func() {
				_, err := engine.Rebuild(context.Background(), rebuild.Request{Source: from, Destination: to, Observer: firstByte(began)})
				over <- err
			}()
			return began, over
		}
		copying, hanging := start(rebuild.Site{Host: a, Replica: chainFrom}, rebuild.Site{Host: b, Replica: chainTo})
		otherCopying, other := start(rebuild.Site{Host: a, Replica: "vol-2-r-0a1b2c3d"}, rebuild.Site{Host: c, Replica: "vol-2-r-4e5f6a7b"})
		<-copying
		<-otherCopying
		to.Pause(t)
		defer to.Resume(t)
		stopped := time.Now()
		select {
		case err := <-hanging:
			require.ErrorIs(t, err, rebuild.ErrUnavailable)
			t.Logf("the hanging one ended after %v of the %v that are promised: %v", time.Since(stopped).Round(10*time.Millisecond), promised, err)
		case <-time.After(time.Minute):
			require.FailNow(t, "a rebuild onto a hanging target does not end")
		}
		from.LimitWrites(t, beside.lvstore, 0)
		select {
		case err := <-other:
			require.NoError(t, err, "another rebuild of the process")
		case <-time.After(time.Minute):
			require.FailNow(t, "another rebuild of the process does not go on")
		}
		requireRebuilt(t, source, "vol-2-r-0a1b2c3d", beside, "vol-2-r-4e5f6a7b")
		to.Resume(t)
		to.LimitWrites(t, destination.lvstore, 0)
		program.mustRebuild(t, source.address(chainFrom), destination.address(chainTo))
		requireRebuilt(t, source, chainFrom, destination, chainTo)
	})
}

// firstByte is an observer that closes a channel when the first bytes are copied.
func firstByte(began chan<- struct{}) rebuild.Observer {
	return &closeOnce{began: began}
}

type closeOnce struct {
	began chan<- struct{}
	done  bool
}

func (c *closeOnce) Observe(e rebuild.Event) {
	if !c.done && e.Kind == rebuild.EventCopying && e.BytesDone > 0 {
		c.done = true
		close(c.began)
	}
}
