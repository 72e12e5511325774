// Package executor carries out a plan on a store. It knows nothing of requests: its input
// is a host, a plan, sources of copies, and a sink for progress.
//
//	executor.go    the input of an Executor, and its stages
//	scheduler.go   order and number of operations at once
//	operation.go   one operation with its retries and changes of source; the table of verbs
//	verbs.go       the calls of each verb; copy.go has the longest
//	image.go       proof of a fetched image before its seal
//	reconcile.go   outcome of a call whose answer was lost
//	refs.go        lvols of the plan's Refs, and their in-flight names
//	model.go       the model that checks each operation first
//	sources.go     choice of a source for each copy, and failures of sources
//	preparation.go work ahead of a graft
//	session.go     exports and connections of the run
//	cleanup.go     removal of everything without a final name
package executor
