package app_test

import (
	"context"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/ports/mocks"
)

// This order of calls keeps a wrong snapshot from being sealed: SPDK may take a
// snapshot without the new parent if it is sent before the graft was answered,
// and a source may have merged while it was copied.
func TestSealFollowsConfirmedGraftAndCounts(t *testing.T) {
	const size = 4 * cluster
	image := func(store string) domain.Lvol {
		return domain.Lvol{UUID: "image-" + store, Name: domain.ImageLvolName(imageName, store), Size: size, ReadOnly: true, Own: domain.Clusters{Count: 2}}
	}
	store := func(uuid string, lvols ...domain.Lvol) domain.Listing {
		return domain.Listing{UUID: uuid, Name: uuid, ClusterSize: cluster, TotalClusters: 100, FreeClusters: 100, Lvols: append([]domain.Lvol{image(uuid)}, lvols...)}
	}
	snap := domain.Lvol{UUID: "source-s1", Name: domain.SnapshotLvolName(sourceName, "s1"), Parent: "image-a", Size: size, ReadOnly: true, Own: domain.Clusters{Count: 1}}
	head := domain.Lvol{UUID: "source-head", Name: sourceName, Parent: "source-s1", Size: size}
	sealed := domain.Lvol{UUID: "sealed", Name: domain.SnapshotLvolName(copyName, "s1"), Parent: "image-b", Size: size, ReadOnly: true, Own: domain.Clusters{Count: 1}}
	newHead := domain.Lvol{UUID: "new-head", Name: copyName, Parent: "sealed", Size: size}

	ctrl := gomock.NewController(t)
	source, destination := mocks.NewMockHost(ctrl), mocks.NewMockHost(ctrl)
	source.EXPECT().List(gomock.Any()).Return(store("a", snap, head), nil).AnyTimes()
	source.EXPECT().Peer(gomock.Any()).Return(ports.Peer("a"), nil).AnyTimes()
	source.EXPECT().Release(gomock.Any(), gomock.Any()).Return(nil).Times(2)
	destination.EXPECT().Release(gomock.Any(), gomock.Any()).Return(nil).Times(2)

	any := gomock.Any()
	gomock.InOrder(
		destination.EXPECT().List(any).Return(store("b"), nil), // it does not know by itself which store it is
		destination.EXPECT().List(any).Return(store("b"), nil), // the plan
		destination.EXPECT().Create(any, any, uint64(size)).Return("in-flight", nil),
		source.EXPECT().Look(any, "source-s1").Return(snap, nil),
		destination.EXPECT().Receive(any, any, "in-flight", ports.Peer("a")).Return(ports.Address("here"), nil),
		destination.EXPECT().List(any).Return(store("b"), nil), // its room, before something is copied
		source.EXPECT().Copy(any, any, "source-s1", ports.Address("here"), any).Return(nil),
		destination.EXPECT().Withdraw(any, any, "in-flight").Return(nil),
		destination.EXPECT().Graft(any, "in-flight", "image-b").Return(nil),
		destination.EXPECT().Look(any, "in-flight").Return(domain.Lvol{UUID: "in-flight", Parent: "image-b", Own: domain.Clusters{Count: 1}}, nil),
		source.EXPECT().Look(any, "source-s1").Return(snap, nil),
		destination.EXPECT().Seal(any, "in-flight", sealed.Name, ports.SealRecord{Attributes: domain.Attributes{UserCreated: true}}).Return("sealed", nil),
		destination.EXPECT().List(any).Return(store("b", sealed), nil), // verified before the head comes
		destination.EXPECT().Clone(any, "sealed", copyName, uint64(size), imageName).Return("new-head", nil),
		destination.EXPECT().Look(any, "new-head").Return(newHead, nil),
	)
	_, err := app.New(nil).Rebuild(context.Background(), app.Request{
		Source: app.Site{Host: source, Replica: sourceName}, Destination: app.Site{Host: destination, Replica: copyName}, Parallel: 1,
	})
	require.NoError(t, err)
}
