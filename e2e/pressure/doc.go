// Package pressure takes from a running daemon what it lives on: file descriptors, memory, its FUSE
// connection, its life, and the programs that write into its mount. Whatever happens, a program gets an
// error or waits, nobody hangs, and what was acknowledged is read back at both doors.
//
// Every name is written once, with the content that harness.Series gives for the name, so the set of the
// acknowledged names is all that has to be remembered.
package pressure
