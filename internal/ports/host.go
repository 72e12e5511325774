package ports

//go:generate go tool -modfile=../../tools/go.mod mockgen -package=mocks -self_package=github.com/rootgraft/rebuild/internal/ports/mocks -source=host.go -destination=mocks/host.go -aux_files=github.com/rootgraft/rebuild/internal/ports=store.go,github.com/rootgraft/rebuild/internal/ports=copier.go

// Host is the interface that an adapter implements: one store, and the means to send
// to other hosts and to receive from them. A host may also implement the optional
// interfaces, such as Prover, Recorder and Merger.
type Host interface {
	Store
	Snapshotter
	Copier
}
