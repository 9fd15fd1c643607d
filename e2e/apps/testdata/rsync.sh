#!/usr/bin/env bash
# Makes a tree of all that rsync -aHAX carries along.
set -euo pipefail
mkdir -p tree/a/b/c tree/empty
for i in $(seq 60); do head -c $((i * 997)) /dev/urandom >"tree/a/f$i"; done
head -c 3000000 /dev/urandom >tree/large
ln tree/a/f1 tree/a/b/hard && ln tree/a/f1 tree/hard2
ln -s ../f2 tree/a/b/soft && ln -s nowhere tree/dangling
mkfifo tree/fifo
truncate -s 2M tree/sparse && printf end >>tree/sparse
setfacl -m u:1001:rw,g:1002:r tree/a/f3
setfacl -d -m u:1001:rwx tree/a/b
setfattr -n user.note -v 'some text' tree/a/f4
setfattr -n user.note -v 'of a directory' tree/a/b/c
setfattr -n trusted.note -v 'of root' tree/a/f5
chown 1001:1002 tree/a/f6 && chmod 4711 tree/a/f6
chmod 1777 tree/empty
touch -h -d '2001-02-03 04:05:06.123456789' tree/a/f7 tree/a/b/soft tree/a/b
touch "tree/$(printf 'name with\nnewline, \xff and \x01')"
