// Package executor carries a plan out on a store. It knows nothing of requests: it gets
// the store, the plan, the sources that copies come from, and a sink for what happens.
//
//	executor.go    what an Executor is given, and its stages
//	scheduler.go   which operation is next, and how many go on at once
//	operation.go   one operation: again after a failure, from another source if need be;
//	               the table of verbs
//	verbs.go       how each verb is asked of the store; copy.go the longest of them
//	image.go       the proof of a fetched image before its seal
//	reconcile.go   whether a call took effect whose answer was lost
//	refs.go        the lvols that the plan's Refs stand for, and their names in flight
//	model.go       the plan played beside the store
//	sources.go     which source serves which copy, and what happens when it fails in that
//	preparation.go what is done ahead of a graft
//	session.go     what the run opens on the hosts, and how it is closed
//	cleanup.go     nothing of a run stays that has no final name
package executor
