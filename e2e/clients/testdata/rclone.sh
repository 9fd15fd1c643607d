#!/bin/bash
# Walks rclone through the object API. Arguments: bucket. Runs in an empty directory; remote K3: is set by the environment.
set -euo pipefail
bucket=$1
fail() { echo "FAILED: $*" >&2; exit 1; }
r() { rclone --retries 1 --low-level-retries 1 --s3-upload-cutoff 8M --s3-chunk-size 5M --s3-copy-cutoff 8M "$@"; }

r mkdir "K3:$bucket"
mkdir -p tree/sub 'tree/ünï cödé 日本'
head -c 100000 /dev/urandom >tree/small
head -c 20000000 /dev/urandom >tree/sub/large
echo unicode >'tree/ünï cödé 日本/a+b&c=d#e%20f.txt'
: >tree/empty
r copy --metadata tree "K3:$bucket/tree"
r check --download tree "K3:$bucket/tree"
r copyto "K3:$bucket/tree/sub/large" "K3:$bucket/copied" # server side, in parts
r cat "K3:$bucket/copied" | cmp - tree/sub/large
r cat --offset 5242870 --count 100 "K3:$bucket/copied" | cmp - <(tail -c +5242871 tree/sub/large | head -c 100)
r moveto "K3:$bucket/tree/small" "K3:$bucket/moved"
r cat "K3:$bucket/moved" | cmp - tree/small
[ -z "$(r lsf "K3:$bucket/tree/small" 2>/dev/null)" ] || fail "moveto left its source"
# mtime travels as metadata.
touch -d '2001-02-03 04:05:06 UTC' tree/empty
r copy tree "K3:$bucket/tree"
TZ=UTC r lsl "K3:$bucket/tree/empty" | grep >/dev/null '2001-02-03 04:05:06' || fail mtime
rm tree/sub/large && r sync tree "K3:$bucket/tree"
r check --one-way "K3:$bucket/tree" tree
r lsf -R --files-only "K3:$bucket" | sort >listed
printf '%s\n' moved copied tree/empty tree/small 'tree/ünï cödé 日本/a+b&c=d#e%20f.txt' | sort | diff - listed
# Both ways, with changes on both sides.
mkdir both && echo one >both/one && echo two >both/two && mkdir state
b() { rclone bisync both "K3:$bucket/both" --workdir state "$@"; }
r mkdir "K3:$bucket/both"
b --resync
echo local >both/local && rm both/one
echo remote | r rcat "K3:$bucket/both/remote"
b
[ "$(cat both/remote)" = remote ] && [ "$(r cat "K3:$bucket/both/local")" = local ] || fail "bisync: what is new"
[ -z "$(r lsf "K3:$bucket/both/one" 2>/dev/null)" ] || fail "bisync: what is gone"
r check both "K3:$bucket/both"
echo streamed | r rcat "K3:$bucket/rcat"
[ "$(r cat "K3:$bucket/rcat")" = streamed ] || fail rcat
r deletefile "K3:$bucket/rcat"
r purge "K3:$bucket"
[ -z "$(r lsf K3: | grep "^$bucket/")" ] || fail purge
