package ports

// Host is the interface that an adapter implements: one store, and the means to send
// to other hosts and to receive from them. A host may also implement the optional
// interfaces, such as Prover, Recorder and Merger.
type Host interface {
	Store
	Snapshotter
	Copier
}
