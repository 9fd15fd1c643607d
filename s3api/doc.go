// Package s3api is the S3 door: it decodes and authenticates a request, calls one method of a
// namespace.Objects that stands for the caller, and encodes the answer. It holds no rule about data:
// permission, conditions and the shape of the tree are decided in the namespace, inside the transaction.
//
// routes.go is the table of everything the door can do: method, level (service, bucket, object) and
// sub-resource to one handler, with the permission it needs and the query parameters it understands. What
// is not in the table is answered 501 NotImplemented: a sub-resource or a header that would change what a
// request means is never ignored.
//
// errors.go is the one table from errors to S3's codes. The wire formats that clients sign and send are
// read by internal/sigv4, internal/payload and internal/header.
package s3api

//go:generate go test -run TestTheManualListsEveryAction -update .
