// Package reference holds the mount against ext4: the same random sequence of POSIX calls on both, and after
// each call the same result, the same errno, and the same attributes of what it touched; now and then the
// same tree, byte for byte, and once more after a restart of the daemon.
//
// A sequence is a function of its seed. One that fails is cut down to the calls that matter, which are
// printed. What a call of it does depends on nothing but the call and the calls before it.
//
// Where ext4's answer depends on the disk it is not compared: the size and the blocks of directories, the
// blocks of files, inode numbers. A time is compared exactly if a call set it, else only as "about now".
package reference
