package app_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// Lvstores on several hosts may bear one name, and so may replicas: it is the
// lvstore's UUID that tells them apart.

// namesakes are hosts whose lvstores have one name, with a replica of one name on
// each.
func namesakes(t tester, n int, replica string, tree string) (hosts []*memory.Host, builders []*builder) {
	fabric := memory.NewFabric()
	for i := range n {
		host := fabric.NewHost(memory.Config{Name: "disk", ClusterSize: cluster, Seed: uint64(i + 1)})
		p := newBuilder(t, host, replica, "").makeImage(4).build(tree)
		hosts, builders = append(hosts, host), append(builders, p)
	}
	return hosts, builders
}

func TestReplicaIsRebuiltFromItsNamesake(t *testing.T) {
	hosts, builders := namesakes(t, 2, sourceName, fieldTreeWithData)
	head := list(t, hosts[1], sourceName).Head
	require.NoError(t, hosts[1].Delete(t.Context(), head.UUID))
	_, err := app.New(nil).Rebuild(t.Context(), app.Request{
		Source: app.Site{Host: hosts[0], Replica: sourceName}, Destination: app.Site{Host: hosts[1], Replica: sourceName},
	})
	require.NoError(t, err, "it is not source and destination at once")
	requireEqualViews(t, &fixture{t: t, source: hosts[0], destination: hosts[1]}, builders[0].replica, sourceName, true)
}

func TestNamesakeSourcesShareCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, _ := namesakes(t, 3, sourceName, wide(8, 4))
		for _, host := range hosts[:2] {
			copies(host, time.Second)
		}
		report, err := app.New(nil).Rebuild(t.Context(), app.Request{
			Source: app.Site{Host: hosts[0], Replica: sourceName}, MoreSources: []app.Site{{Host: hosts[1], Replica: sourceName}},
			Destination: app.Site{Host: hosts[2], Replica: copyName},
		})
		require.NoError(t, err, "neither is given twice")
		require.Len(t, report.Sources, 2)
		for _, s := range report.Sources {
			require.NotEmpty(t, s.Snapshots, "%v", report.Warnings)
		}
		require.Empty(t, report.Warnings)
	})
}

func TestReplicaIsComparedWithItsNamesake(t *testing.T) {
	hosts, builders := namesakes(t, 2, sourceName, twoSnapshots(8))
	require.NoError(t, hosts[0].Graft(t.Context(), builders[0].uuids["snap1"], ""))
	report, err := app.New(nil).Repair(t.Context(), app.RepairRequest{
		Replica: app.Site{Host: hosts[0], Replica: sourceName}, Healthy: app.Site{Host: hosts[1], Replica: sourceName},
	})
	require.NoError(t, err, "it is not compared with itself")
	require.Contains(t, strings.Join(report.Notices, "\n"), "proven equal")
}

func TestAuditTellsNamesakesApart(t *testing.T) {
	hosts, _ := namesakes(t, 2, sourceName, twoSnapshots(8))
	report, err := app.New(nil).Audit(t.Context(), app.AuditRequest{Sites: []app.Site{{Host: hosts[0]}, {Host: hosts[1]}}})
	require.NoError(t, err)
	require.Len(t, report.Volumes, 1)
	require.Len(t, report.Volumes[0].Replicas, 2, "both are looked at")

	// Replicas that are not named as a volume's are not compared.
	hosts, _ = namesakes(t, 2, "backup", twoSnapshots(8))
	report, err = app.New(nil).Audit(t.Context(), app.AuditRequest{Sites: []app.Site{{Host: hosts[0]}, {Host: hosts[1]}, {Host: hosts[0]}}})
	require.NoError(t, err)
	require.Len(t, report.Volumes, 2)
}

func TestNamesakesAreRebuiltAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, _ := namesakes(t, 3, sourceName, wide(4, 4))
		engine := app.New(nil)
		copies(hosts[0], time.Minute)
		ended := make(chan error)
		for _, host := range hosts[1:] {
			head := list(t, host, sourceName).Head
			require.NoError(t, host.Delete(t.Context(), head.UUID))
			go func() {
				_, err := engine.Rebuild(context.Background(), app.Request{
					Source: app.Site{Host: hosts[0], Replica: sourceName}, Destination: app.Site{Host: host, Replica: sourceName},
					Options: domain.Options{Full: true},
				})
				ended <- err
			}()
		}
		require.NoError(t, <-ended)
		require.NoError(t, <-ended)
	})
}

func TestNamesakesFetchImagesInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := memory.NewFabric()
		var hosts []*memory.Host
		for i := range 4 {
			hosts = append(hosts, fabric.NewHost(memory.Config{Name: "disk", ClusterSize: cluster, Seed: uint64(i + 1)}))
		}
		engine, began, ended := app.New(nil), time.Now(), make(chan error)
		for i, host := range hosts[:2] {
			newBuilder(t, host, sourceName, "").makeImage(4).build(wide(1, 4))
			inject(host, on("copy").ofImages().takes(time.Minute))
			go func() {
				_, err := engine.Rebuild(context.Background(), app.Request{
					Source: app.Site{Host: host, Replica: sourceName}, Destination: app.Site{Host: hosts[i+2], Replica: copyName},
				})
				ended <- err
			}()
		}
		require.NoError(t, <-ended)
		require.NoError(t, <-ended)
		require.Less(t, time.Since(began), 2*time.Minute, "one has waited for the other's image")
	})
}
