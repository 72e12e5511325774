package app_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// A rebuild that waits for another one's fetch of the image plans again. What its
// source has become meanwhile, that plan is about: a head that was written to has
// to be frozen first, and a plan that has nothing to do any more is none to carry
// out. Whether the image is there by then, or has to be fetched still, is the same.
func TestPlanIsRenewedAfterWaitForImage(t *testing.T) {
	for what, c := range map[string]struct {
		firstFails bool
		meanwhile  func(second *builder)
		freezes    int
	}{
		"nothing happens": {false, func(*builder) {}, 0},
		"nothing happens, and the image was not fetched":        {true, func(*builder) {}, 0},
		"the head is written to":                                {false, func(p *builder) { p.write(p.head(), 6, 9) }, 1},
		"the head is written to, and the image was not fetched": {true, func(p *builder) { p.write(p.head(), 6, 9) }, 1},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newMultiSource(t, memory.Fork, forks, "image\n snap1 0=1\n  head")
				fetching := make(chan struct{})
				fetch := on("copy").of(domain.ImageLvolName(imageName, storeOf(t, g.sources[0]).UUID)).does(func() { close(fetching) }).takes(time.Minute)
				if c.firstFails {
					fetch.fault.Before = errors.New("the disk is broken")
				}
				inject(g.sources[0], fetch)
				begun := make(map[string]int) // by the second one
				engine := app.New(nil)
				rebuild := func(n int, replica string) error {
					_, err := engine.Rebuild(context.Background(), app.Request{
						Source:      app.Site{Host: g.sources[n], Replica: g.builders[n].replica},
						Destination: app.Site{Host: g.destination, Replica: replica}, Base: domain.ImageBase(imageName),
						Observer: observe(func(e app.Event) {
							if n == 1 && e.Kind == app.EventBegan {
								begun[string(e.Verb)+" "+e.Snapshot]++
							}
						}),
					})
					return err
				}
				first, second := make(chan error, 1), make(chan error, 1)
				go func() { first <- rebuild(0, "vol-1-r-00000021") }()
				<-fetching
				go func() { second <- rebuild(1, "vol-1-r-00000022") }()
				synctest.Wait() // it waits for the image
				require.Empty(t, second)
				c.meanwhile(g.builders[1])
				require.Equal(t, c.firstFails, <-first != nil)
				require.NoError(t, <-second)
				requireEqualViews(t, &fixture{t: t, source: g.sources[1], destination: g.destination}, g.builders[1].replica, "vol-1-r-00000022", true)
				for operation, times := range begun {
					require.Equal(t, 1, times, operation)
				}
				require.Len(t, systemSnapshots(contents(t, g.sources[1])), c.freezes)
			})
		})
	}
}

func storeOf(t tester, host *memory.Host) domain.Listing {
	store, err := host.List(context.Background())
	require.NoError(t, err)
	return store
}
