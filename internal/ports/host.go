package ports

// Host is what an adapter brings: one store, and the way to send to other
// hosts and to receive from them. A host may be a Prover, a Recorder and a
// Merger, too.
type Host interface {
	Store
	Snapshotter
	Copier
}
