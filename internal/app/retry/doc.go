// Package retry decides whether a failed call is repeated, and waits for busy lvols. No
// other package does either. A table of budgets says how long.
package retry
