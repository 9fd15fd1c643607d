#!/bin/bash
# Walks s3cmd through the object API. Arguments: bucket, further options of s3cmd. Runs in an empty directory.
set -euo pipefail
bucket=$1 options=("${@:2}") host=${S3_ENDPOINT#http://}
fail() { echo "FAILED: $*" >&2; exit 1; }
cat >config <<END
[default]
access_key = $AWS_ACCESS_KEY_ID
secret_key = $AWS_SECRET_ACCESS_KEY
host_base = $host
host_bucket = $host
bucket_location = us-east-1
use_https = False
max_retries = 1
multipart_chunk_size_mb = 5
END
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
c() { s3cmd -c config --no-progress "${options[@]}" "$@"; }

c mb "s3://$bucket"
head -c 100000 /dev/urandom >small
head -c 12000000 /dev/urandom >large
c put small "s3://$bucket/dir/small" --add-header=x-amz-meta-color:blue --mime-type=text/x-k3
c put large "s3://$bucket/dir/large" # in parts
c get "s3://$bucket/dir/small" small.out && cmp small small.out
c get "s3://$bucket/dir/large" large.out && cmp large large.out
c info "s3://$bucket/dir/small" | grep >/dev/null 'color: *blue' || fail metadata
c put small "s3://$bucket/ünï cödé/日本 +&=#%20.txt"
c get "s3://$bucket/ünï cödé/日本 +&=#%20.txt" uni.out && cmp small uni.out
c cp "s3://$bucket/dir/small" "s3://$bucket/copy"
c get "s3://$bucket/copy" copy.out && cmp small copy.out
c mv "s3://$bucket/copy" "s3://$bucket/moved"
mkdir tree && for i in 1 2 3; do echo "$i" >"tree/$i"; done
c sync tree/ "s3://$bucket/tree/"
rm tree/2 && c sync --delete-removed tree/ "s3://$bucket/tree/"
mkdir tree.out && c sync "s3://$bucket/tree/" tree.out/ && diff -r tree tree.out
c ls -r "s3://$bucket/" | awk '{print $4}' | grep -c "^s3://$bucket/" | grep -x >/dev/null 6 || fail "listing: $(c ls -r "s3://$bucket/")"
c ls "s3://$bucket/" | grep >/dev/null DIR || fail "prefixes"
c multipart "s3://$bucket/" >/dev/null
c del "s3://$bucket/moved"
c rb --force --recursive "s3://$bucket"
if c ls "s3://$bucket" 2>/dev/null; then fail rb; fi
