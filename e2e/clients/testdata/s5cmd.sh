#!/bin/bash
# Walks s5cmd through the object API. Arguments: s5cmd, bucket. Runs in an empty directory.
set -euo pipefail
s5cmd=$1 bucket=$2
fail() { echo "FAILED: $*" >&2; exit 1; }
s() { "$s5cmd" --endpoint-url "$S3_ENDPOINT" --retry-count 0 "$@"; }

s mb "s3://$bucket"
mkdir -p tree/sub 'tree/ünï cödé 日本'
head -c 100000 /dev/urandom >tree/small
head -c 17000000 /dev/urandom >tree/sub/large
echo unicode >'tree/ünï cödé 日本/a+b&c=d#e%20f.txt'
: >tree/empty
s cp -p 5 -c 3 --metadata color=blue --content-type text/x-k3 tree/small "s3://$bucket/dir/small"
s head "s3://$bucket/dir/small" | jq -e '.content_type == "text/x-k3" and .size == 100000 and ([.metadata[]] == ["blue"])' >/dev/null || fail "head: $(s head "s3://$bucket/dir/small")"
s cp -p 5 -c 3 tree/ "s3://$bucket/tree/" # large in parts
s cat "s3://$bucket/tree/sub/large" | cmp - tree/sub/large
s cp -p 5 -c 3 "s3://$bucket/tree/*" out/ # in ranges
diff -r tree out
s cp "s3://$bucket/tree/ünï cödé 日本/a+b&c=d#e%20f.txt" "s3://$bucket/copy/ü +%"
[ "$(s cat "s3://$bucket/copy/ü +%")" = unicode ] || fail "copy"
s mv "s3://$bucket/tree/small" "s3://$bucket/moved"
s cat "s3://$bucket/moved" | cmp - tree/small
if s head "s3://$bucket/tree/small" 2>/dev/null; then fail "mv left its source"; fi
head -c 12000000 tree/sub/large | s pipe -p 5 "s3://$bucket/piped"
s cat "s3://$bucket/piped" | cmp - <(head -c 12000000 tree/sub/large)
s cp --no-clobber tree/empty "s3://$bucket/piped"
s cat "s3://$bucket/piped" | cmp - <(head -c 12000000 tree/sub/large)

mkdir synced && for i in 1 2 3; do echo "$i" >"synced/$i"; done
s sync synced/ "s3://$bucket/synced/"
rm synced/2 && echo four >synced/4 && s sync --delete synced/ "s3://$bucket/synced/"
s sync "s3://$bucket/synced/*" synced.out/ && diff -r synced synced.out
s ls "s3://$bucket/" | grep >/dev/null 'DIR *tree/' || fail "prefixes: $(s ls "s3://$bucket/")"
s ls "s3://$bucket/*" | wc -l | grep -x >/dev/null 10 || fail "listing: $(s ls "s3://$bucket/*")"
s --json du "s3://$bucket/synced/*" | jq -e '.count == 3 and .size == 9' >/dev/null || fail "du: $(s --json du "s3://$bucket/synced/*")"
curl -sf "$(s presign --expire 60s "s3://$bucket/moved")" | cmp - tree/small
printf 'cp s3://%s/moved s3://%s/run/1\ncp s3://%s/moved s3://%s/run/2\n' "$bucket" "$bucket" "$bucket" "$bucket" | s run
s rm "s3://$bucket/run/*"
[ -z "$(s ls "s3://$bucket/run/*" 2>/dev/null)" ] || fail "rm"

s bucket-version --set Enabled "s3://$bucket"
s bucket-version "s3://$bucket" | grep >/dev/null Enabled || fail "bucket-version"
echo second | s pipe "s3://$bucket/moved"
s ls --all-versions "s3://$bucket/moved" | wc -l | grep -x >/dev/null 2 || fail "versions: $(s ls --all-versions "s3://$bucket/moved")"
if s cat "s3://$bucket/absent" 2>error; then fail "absent"; fi
grep >/dev/null 'not found' error || fail "$(cat error)"
s rm --all-versions "s3://$bucket/*"
s rb "s3://$bucket"
if s ls "s3://$bucket" 2>/dev/null; then fail rb; fi
