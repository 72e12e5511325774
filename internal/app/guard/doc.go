// Package guard wraps a host where it enters the engine, so that nothing behind that
// door has to think of three things:
//
//   - Deadlines. Every call ends, also on a host that answers nobody
//     (longhorn/longhorn#12406, #11332): a rebuild that waited for one for good would
//     keep its place in the queue and its locks from all others.
//   - Liveness. What reads data takes as long as it takes, so it has no deadline of its
//     own: its host is looked at meanwhile, and has to answer that.
//   - Patience. A call that is simply made again when something else is at work there
//     waits for that (retry.Busy). Those that are not: Graft and Seal, before which more
//     has to be looked at again; Create, Receive and looks, which nothing holds up; Open,
//     whose lvol a volume may use for long; and locks, where busy is the answer.
//
// Host.While adds a fourth: calls end when the host is not used any more.
package guard
