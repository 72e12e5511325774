package rpc

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Call is one call of a method. It is sent once; then Err is its outcome.
type Call struct {
	Err error

	method   string
	params   any
	into     any           // where the result is decoded; nil: it is ignored
	changes  bool          // it is waited for a while after the context's end
	patience time.Duration // on top of the client's timeout, for calls that read data
	id       uint32
	conn     uint64
}

// CallOf is a call with a result, which is set where Err is nil.
type CallOf[T any] struct {
	Call
	Result T
}

// Request is a call of any method: a *Call or a *CallOf.
type Request interface{ base() *Call }

func (c *Call) base() *Call { return c }

// Connection is the number of the connection that the call went over.
func (c *Call) Connection() uint64 { return c.conn }

// Do sends the call and waits for its outcome.
func (c *Call) Do(ctx context.Context, client *Client) error {
	client.Do(ctx, c)
	return c.Err
}

// Do sends the call and waits for its result.
func (c *CallOf[T]) Do(ctx context.Context, client *Client) (T, error) {
	client.Do(ctx, c)
	return c.Result, c.Err
}

// get is a call that changes nothing.
func get[T any](method string, params any) *CallOf[T] {
	c := &CallOf[T]{Call: Call{method: method, params: params}}
	c.into = &c.Result
	return c
}

// changing is a call that changes something, and has a result.
func changing[T any](method string, params any) *CallOf[T] {
	c := get[T](method, params)
	c.changes = true
	return c
}

// change is a call that changes something, and whose result says no more than that.
func change(method string, params any) *Call {
	return &Call{method: method, params: params, changes: true}
}

// FirstErr is the first error of calls that were sent, other than of the kinds
// that do not count.
func FirstErr[R Request](calls []R, butNot ...error) error {
	for _, one := range calls {
		err := one.base().Err
		if err != nil && !slices.ContainsFunc(butNot, func(kind error) bool { return errors.Is(err, kind) }) {
			return err
		}
	}
	return nil
}

// FirstUnknown is the first error of calls after which the outcome is not known.
func FirstUnknown[R Request](calls []R) error {
	for _, one := range calls {
		if err := one.base().Err; OutcomeUnknown(err) {
			return err
		}
	}
	return nil
}

// Requests are calls of one type, for Client.Do.
func Requests[R Request](calls []R) []Request {
	all := make([]Request, len(calls))
	for i, one := range calls {
		all[i] = one
	}
	return all
}
