// Package retry is the one place that decides whether a call that failed is made
// again, and the one that waits for what is busy. How long each kind of call goes on
// is a table of budgets.
package retry
