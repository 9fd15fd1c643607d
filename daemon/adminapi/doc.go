// Package adminapi is the API by which a store is run: tenants, accounts, buckets, objects, holds, the audit log and
// the daemon itself. It owns the protobuf definition in proto, from which the Go code in adminv1 is generated, and
// serves it as gRPC, as gRPC-Web and as HTTP with JSON, all on one port. It holds no rule of the domain: each
// method calls tenancy or a view of the namespace and translates what they answer.
//
// # Who asks
//
// A request is signed with AWS Signature Version 4 for the service "k3fs", over its body and a nonce in the header
// K3fs-Nonce, by the access keys that S3 and mounts know. A nonce is good for one request. Or it carries a JSON web
// token of a trusted identity provider ("Authorization: Bearer"), as requests of S3 may. On the unix socket root,
// and who runs the daemon, needs no signature, and acts as the root account of the tenant that the header
// K3fs-Tenant names, by default the first. Health and reflection are answered to anybody, and nothing else is.
//
// # What is allowed
//
// Each method names its permission in the option k3fs.admin.v1.permission; New fails when one does not. What is
// about a tenant or the node is asked before the method runs, what is about a bucket by the namespace, inside the
// transaction.
//
// # Locks
//
// That of the nonces, a leaf.
package adminapi

//go:generate go run ./gen
//go:generate go test -run TestReferenceIsCurrent . -update
