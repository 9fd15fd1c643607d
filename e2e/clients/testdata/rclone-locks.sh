#!/bin/bash
# Walks rclone through older versions and Object Lock. Arguments: a bucket whose default retention is two days of
# governance, and one without. Runs in an empty directory; remote K3: is set by the environment.
set -euo pipefail
locked=$1 plain=$2
fail() { echo "FAILED: $*" >&2; exit 1; }
r() { rclone --retries 1 --low-level-retries 1 "$@"; }
older() { r lsf --s3-versions "K3:$1" | grep -- '-v[0-9-]*\.txt$' || true; }

# A copy over an object, and a deletion, leave the older versions, which are listed and read with their times as names.
for bucket in "$locked" "$plain"; do
  echo one >f.txt && r copyto f.txt "K3:$bucket/f.txt"
  sleep 1.1 # rclone names versions by their second
  between=$(date -u +%Y-%m-%dT%H:%M:%S.999Z)
  sleep 1.1
  echo two-two >f.txt && r copyto f.txt "K3:$bucket/f.txt"
  [ "$(r cat "K3:$bucket/f.txt")" = two-two ] || fail "what is current in $bucket"
  [ "$(older "$bucket" | wc -l)" = 1 ] || fail "one older version in $bucket: $(r lsf --s3-versions "K3:$bucket")"
  [ "$(r cat --s3-versions "K3:$bucket/$(older "$bucket")")" = one ] || fail "the older version in $bucket"
  [ "$(r cat --s3-version-at "$between" "K3:$bucket/f.txt")" = one ] || fail "$bucket as it was"
  r deletefile "K3:$bucket/f.txt"
  [ -z "$(r lsf "K3:$bucket")" ] || fail "deletefile in $bucket"
  [ "$(older "$bucket" | wc -l)" = 2 ] || fail "what deletefile leaves in $bucket: $(r lsf --s3-versions "K3:$bucket")"
done

# What is under retention can't be removed for good, alone or with its bucket; elsewhere it can.
for name in $(older "$locked"); do
  r deletefile --s3-versions "K3:$locked/$name" && fail "$name was under retention"
done
r purge "K3:$locked" && fail "a bucket with what is under retention was removed"
# purge could remove the delete marker, which nothing keeps: so the newer version is current again.
[ "$(r cat "K3:$locked/f.txt")" = two-two ] || fail "purge left: $(r lsf --s3-versions "K3:$locked")"
[ "$(r cat --s3-versions "K3:$locked/$(older "$locked")")" = one ] || fail "purge left: $(r lsf --s3-versions "K3:$locked")"
for name in $(older "$plain"); do
  r deletefile --s3-versions "K3:$plain/$name"
done
[ -z "$(older "$plain")" ] || fail "versions without a lock: $(older "$plain")"
