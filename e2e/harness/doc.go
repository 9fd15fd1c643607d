// Package harness runs the real k3fs daemon for the end-to-end tests and for the benchmark.
//
// It owns processes (on free loopback ports, over temporary or given directories), their mounts and
// logs, loop-mounted disks that can lose their power, self-describing contents, and the ledger of
// acknowledged writes. It kills only processes that it started and unmounts only what it mounted. It
// knows the command line, S3 and POSIX, and nothing of the insides of k3fs.
//
// # Environment
//
//	K3FS_BIN         the daemon's binary; without it the harness builds ./cmd/k3fs into bin/k3fs
//	K3FS_E2E=long    the long mode: all rounds that a release is judged by; otherwise a few of each
//	K3FS_E2E_ROUNDS  overrides the number of rounds of every test that counts in rounds
//	K3FS_E2E_SEED    repeats a random run; each test logs the seed that it used
//	CI=true          a missing tool, FUSE or root is a failure; elsewhere the test is skipped
package harness
