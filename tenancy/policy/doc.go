// Package policy is the IAM policy language as policies of buckets, of accounts and of sessions use it: it parses a
// document strictly, and evaluates it for a request. It is pure: no I/O, no clock, no state; who asks and what is known of the request
// come with it.
//
// Everything fails closed. A document with anything unknown in it is refused when it is parsed. When it is
// evaluated, a condition on something that the request does not have is false, but for the operators that say
// otherwise (Not..., ...IfExists, Null, ForAllValues), as in IAM.
//
// Source: "IAM JSON policy elements reference" and "Policy evaluation logic" in the IAM user guide.
package policy
