#!/bin/bash
# Walks a program that mounts a bucket through the object API. Arguments: its name (s3fs or rclone), bucket, and the bucket's directory in
# the mount of k3fs itself. Runs in an empty directory.
set -euo pipefail
program=$1 bucket=$2 own=$3
fail() { echo "FAILED: $*" >&2; cat log >&2; exit 1; }

mkdir "$own" mnt
case $program in
s3fs)
  s3fs "$bucket" mnt -f -o "url=$S3_ENDPOINT" -o use_path_request_style -o multipart_size=5 -o stat_cache_expire=1 -o retries=1 >log 2>&1 &
  ;;
rclone)
  rclone mount "K3:$bucket" mnt --vfs-cache-mode writes --vfs-write-back 0s --cache-dir cache --dir-cache-time 1s --s3-upload-cutoff 8M --s3-chunk-size 5M \
    --s3-copy-cutoff 8M --low-level-retries 1 >log 2>&1 &
  ;;
esac
pid=$!
end() { umount mnt 2>/dev/null || umount -l mnt 2>/dev/null || true; kill $pid 2>/dev/null || true; wait $pid 2>/dev/null || true; }
trap end EXIT
# until waits for a command to succeed.
until_true() { for _ in {1..600}; do "$@" 2>/dev/null && return; kill -0 $pid || fail "$program ended"; sleep 0.1; done; fail "still not: $*"; }
until_true mountpoint -q mnt
same() { diff -r --no-dereference --exclude=link mnt "$own" >diff; }

mkdir -p mnt/a/b "mnt/ünï cödé 日本"
head -c 100000 /dev/urandom >small
head -c 12000000 /dev/urandom >large
cp small mnt/a/b/small
cp large mnt/a/large # in parts
: >mnt/a/empty
echo unicode >'mnt/ünï cödé 日本/a+b&c=d#e%20f.txt'
cmp small mnt/a/b/small
cmp large mnt/a/large
until_true same

echo more | tee -a mnt/a/b/small >>small
dd if=/dev/urandom of=patch bs=1000 count=3 status=none
for to in mnt/a/large large; do dd if=patch of=$to bs=1000 seek=7000 conv=notrunc status=none; done
until_true same
cmp small "$own/a/b/small"
cmp large "$own/a/large"

mv mnt/a/large mnt/moved # rclone: a copy in parts at the server
until_true same
mv mnt/a mnt/renamed
until_true same
cmp large "$own/moved"
cmp small "$own/renamed/b/small"
truncate -s 70000 mnt/renamed/b/small
truncate -s 70000 small
until_true same
cmp small "$own/renamed/b/small"
touch -d '2001-02-03 04:05:06 UTC' mnt/renamed/b/small
[ "$(TZ=UTC stat -c %y mnt/renamed/b/small | cut -c1-19)" = '2001-02-03 04:05:06' ] || fail mtime

if [ "$program" = s3fs ]; then # it keeps these in metadata
  chmod 640 mnt/renamed/empty && chown 1000:100 mnt/renamed/empty
  [ "$(stat -c %a:%u:%g mnt/renamed/empty)" = 640:1000:100 ] || fail "mode and owner"
  ln -s renamed/b/small mnt/link && [ "$(readlink mnt/link)" = renamed/b/small ] && cmp mnt/link small
fi

# What changes at the other door is seen.
echo here >"$own/renamed/other"
until_true grep -q here mnt/renamed/other
rm "$own/renamed/other"
until_true test ! -e mnt/renamed/other

rm -r mnt/renamed mnt/ünï*
until_true same
[ "$(ls "$own" | grep -v '^link$')" = moved ] || fail "left: $(ls "$own")"
until_true umount mnt
wait $pid || fail "$program ended with $?"
