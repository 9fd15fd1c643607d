#!/bin/bash
# Walks the aws command through the object API. Arguments: the command, bucket. Runs in an empty directory.
set -euo pipefail
bucket=$2
aws() { "$command" --endpoint-url "$S3_ENDPOINT" "$@"; } # before 2.13 AWS_ENDPOINT_URL is not read
command=$1
# Version 1 of the command presigns by signature version 2 unless told.
printf '[default]\ns3 =\n  signature_version = s3v4\n' >config
export AWS_CONFIG_FILE=$PWD/config
api() { aws s3api "$@"; }
s3() { aws s3 "$@" --only-show-errors; }
fail() { echo "FAILED: $*" >&2; exit 1; }

aws s3 mb "s3://$bucket"
head -c 100000 /dev/urandom >small
head -c 20000000 /dev/urandom >large
s3 cp small "s3://$bucket/dir/small" --metadata color=blue --content-type text/x-k3
s3 cp large "s3://$bucket/dir/large" # in parts
s3 cp "s3://$bucket/dir/small" small.out && cmp small small.out
s3 cp "s3://$bucket/dir/large" large.out && cmp large large.out
api head-object --bucket "$bucket" --key dir/small | grep >/dev/null '"color": "blue"' || fail metadata
api get-object --bucket "$bucket" --key dir/large --range bytes=8388600-8388700 range.out >/dev/null
cmp <(tail -c +8388601 large | head -c 101) range.out

key='sub/ünï cödé/日本 +&=?#%20.txt'
s3 cp small "s3://$bucket/$key"
s3 cp "s3://$bucket/$key" - | cmp - small
s3 cp "s3://$bucket/dir/large" "s3://$bucket/copy/large" # UploadPartCopy
s3 cp "s3://$bucket/copy/large" - | cmp - large
s3 mv "s3://$bucket/dir/small" "s3://$bucket/dir/moved"
aws s3 ls "s3://$bucket/dir/" | grep >/dev/null moved || fail mv
if aws s3 ls "s3://$bucket/dir/small" | grep >/dev/null small; then fail "mv left its source"; fi
echo stream | s3 cp - "s3://$bucket/from-stdin"
[ "$(s3 cp "s3://$bucket/from-stdin" -)" = stream ] || fail stdin

mkdir -p tree/a/b && for i in 1 2 3 4 5; do echo "$i" >"tree/a/$i"; echo "$i" >"tree/a/b/$i"; done
s3 sync tree "s3://$bucket/tree"
rm tree/a/3 && echo changed-and-longer >tree/a/4
s3 sync --delete tree "s3://$bucket/tree"
s3 sync "s3://$bucket/tree" tree.out && diff -r tree tree.out
[ "$(api list-objects-v2 --bucket "$bucket" --prefix tree/ --page-size 2 --query 'length(Contents)' | paste -sd+ | bc)" = 9 ] || fail "paged listing"
[ "$(api list-objects-v2 --bucket "$bucket" --delimiter / --query 'CommonPrefixes[].Prefix' --output text | tr '\t' ' ')" = "copy/ dir/ sub/ tree/" ] || fail prefixes

etag=$(api head-object --bucket "$bucket" --key from-stdin --query ETag --output text)
if api get-object --bucket "$bucket" --key from-stdin --if-none-match "$etag" x.out 2>err >/dev/null; then fail if-none-match; fi
grep >/dev/null 304 err || fail "if-none-match: $(cat err)"
if api get-object --bucket "$bucket" --key from-stdin --if-match '"other"' x.out 2>err >/dev/null; then fail if-match; fi
grep >/dev/null -e 412 -e PreconditionFailed err || fail "if-match: $(cat err)"
curl -sf "$(aws s3 presign "s3://$bucket/from-stdin")" | grep >/dev/null stream || fail presign

up=$(api create-multipart-upload --bucket "$bucket" --key aborted --query UploadId --output text)
api upload-part --bucket "$bucket" --key aborted --upload-id "$up" --part-number 1 --body small >/dev/null
api list-parts --bucket "$bucket" --key aborted --upload-id "$up" | grep >/dev/null '"Size": 100000' || fail list-parts
api abort-multipart-upload --bucket "$bucket" --key aborted --upload-id "$up"
s3 rm "s3://$bucket/from-stdin"

# Versions and locks.
kept=$bucket-kept
api create-bucket --bucket "$kept" --object-lock-enabled-for-bucket >/dev/null
[ "$(api get-bucket-versioning --bucket "$kept" --query Status --output text)" = Enabled ] || fail "lock implies versions"
first=$(api put-object --bucket "$kept" --key k --body small --query VersionId --output text)
s3 cp tree/a/1 "s3://$kept/k"
s3 rm "s3://$kept/k"
if s3 cp "s3://$kept/k" x.out 2>/dev/null; then fail "read behind a delete marker"; fi
api get-object --bucket "$kept" --key k --version-id "$first" x.out >/dev/null && cmp small x.out
[ "$(api list-object-versions --bucket "$kept" --prefix k --query '[length(Versions), length(DeleteMarkers)]' --output text | tr '\t' ' ')" = "2 1" ] || fail list-object-versions
api put-object-legal-hold --bucket "$kept" --key k --version-id "$first" --legal-hold Status=ON
if api delete-object --bucket "$kept" --key k --version-id "$first" 2>err; then fail "removed what is under legal hold"; fi
grep >/dev/null AccessDenied err || fail "legal hold: $(cat err)"
api put-object-legal-hold --bucket "$kept" --key k --version-id "$first" --legal-hold Status=OFF
api put-object-retention --bucket "$kept" --key k --version-id "$first" --retention "Mode=GOVERNANCE,RetainUntilDate=$(date -u -d '+1 day' +%Y-%m-%dT%H:%M:%SZ)"
if api delete-object --bucket "$kept" --key k --version-id "$first" 2>err; then fail "removed what is retained"; fi
grep >/dev/null AccessDenied err || fail "retention: $(cat err)"
api delete-object --bucket "$kept" --key k --version-id "$first" --bypass-governance-retention >/dev/null
api list-object-versions --bucket "$kept" --query '[Versions, DeleteMarkers][].[VersionId]' --output text | while read -r id; do
  api delete-object --bucket "$kept" --key k --version-id "$id" >/dev/null
done
api delete-bucket --bucket "$kept"
aws s3 rb --force "s3://$bucket" >/dev/null
if api head-bucket --bucket "$bucket" 2>/dev/null; then fail rb; fi
