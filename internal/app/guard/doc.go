// Package guard wraps a host where it enters the engine. The code behind it need not care
// about:
//
//   - Deadlines. Every call ends, also on a host that never answers
//     (longhorn/longhorn#12406, #11332). Otherwise a rebuild could keep its place in the
//     queue and its locks forever.
//   - Liveness. Calls that transfer data have no deadline, since they take as long as they
//     take. Meanwhile the host must answer other calls.
//   - Busy lvols. A call that can simply be repeated waits while something else uses the
//     lvol (retry.Busy). The exceptions are Graft and Seal, before which more has to be
//     checked again; Create, Receive, Look and List, which nothing blocks; Open, whose
//     lvol a volume may use for long; and locks, where busy is the answer.
//
// Host.While adds a fourth: calls end when the host is no longer used.
package guard
