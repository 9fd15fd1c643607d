"""Walks boto3 through the object API. Arguments: bucket. Fails with a traceback."""
import datetime
import hashlib
import os
import sys
import time
import urllib.error
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

BUCKET = sys.argv[1]
s3 = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], config=Config(read_timeout=20))


def refused(code, call, *args, **kwargs):
    """The call must fail with this error code or HTTP status."""
    try:
        call(*args, **kwargs)
    except ClientError as e:
        got = (e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"])
        assert code in got, (code, got)
        return e
    raise AssertionError(f"{call.__name__} {kwargs} must fail with {code}")


def members(operation):
    return s3.meta.service_model.operation_model(operation).input_shape.members


def read(key, **kwargs):
    return s3.get_object(Bucket=BUCKET, Key=key, **kwargs)["Body"].read()


def buckets():
    s3.create_bucket(Bucket=BUCKET)
    s3.head_bucket(Bucket=BUCKET)
    assert BUCKET in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    assert s3.get_bucket_location(Bucket=BUCKET)["LocationConstraint"] in (None, "us-east-1")
    refused(404, s3.head_bucket, Bucket="never-made-" + BUCKET)
    refused("NoSuchBucket", s3.list_objects_v2, Bucket="never-made-" + BUCKET)
    refused("InvalidBucketName", s3.create_bucket, Bucket="ab..cd")


def objects():
    body = os.urandom(100_000)
    put = s3.put_object(Bucket=BUCKET, Key="plain", Body=body, ContentType="text/x-k3", CacheControl="max-age=7",
                        ContentDisposition="inline", ContentEncoding="identity", ContentLanguage="de",
                        Metadata={"color": "blue", "with-dash": "a b"})
    assert put["ETag"] == '"%s"' % hashlib.md5(body).hexdigest(), put["ETag"]
    head = s3.head_object(Bucket=BUCKET, Key="plain")
    assert head["ContentLength"] == len(body) and head["ETag"] == put["ETag"]
    assert head["Metadata"] == {"color": "blue", "with-dash": "a b"}, head["Metadata"]
    assert head["ContentType"] == "text/x-k3" and head["CacheControl"] == "max-age=7", head
    assert head["ContentDisposition"] == "inline" and head["ContentLanguage"] == "de", head
    age = datetime.datetime.now(datetime.timezone.utc) - head["LastModified"]
    assert abs(age.total_seconds()) < 60, head["LastModified"]
    assert read("plain") == body
    s3.put_object(Bucket=BUCKET, Key="empty", Body=b"")
    assert read("empty") == b""
    refused("NoSuchKey", s3.get_object, Bucket=BUCKET, Key="absent")
    refused(404, s3.head_object, Bucket=BUCKET, Key="absent")
    over = s3.get_object(Bucket=BUCKET, Key="plain", ResponseContentType="a/b", ResponseContentDisposition="attachment")
    assert over["ContentType"] == "a/b" and over["ContentDisposition"] == "attachment"


def ranges():
    body = os.urandom(3 << 20)
    s3.put_object(Bucket=BUCKET, Key="ranged", Body=body)
    for spec, want in {
        "bytes=0-0": body[:1],
        "bytes=5-4099": body[5:4100],
        "bytes=1048575-1048577": body[1048575:1048578],
        "bytes=3145000-": body[3145000:],
        "bytes=-17": body[-17:],
        "bytes=0-99999999": body,
    }.items():
        got = s3.get_object(Bucket=BUCKET, Key="ranged", Range=spec)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206, spec
        assert got["Body"].read() == want, spec
        assert got["ContentRange"].endswith("/%d" % len(body)), got["ContentRange"]
    refused("InvalidRange", s3.get_object, Bucket=BUCKET, Key="ranged", Range="bytes=3145728-")


def conditions():
    etag = s3.put_object(Bucket=BUCKET, Key="cond", Body=b"one")["ETag"]
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.timezone.utc)
    assert read("cond", IfMatch=etag) == b"one"
    assert read("cond", IfNoneMatch='"other"') == b"one"
    assert read("cond", IfModifiedSince=now - day) == b"one"
    assert read("cond", IfUnmodifiedSince=now + day) == b"one"
    refused(412, s3.get_object, Bucket=BUCKET, Key="cond", IfMatch='"other"')
    refused(304, s3.get_object, Bucket=BUCKET, Key="cond", IfNoneMatch=etag)
    refused(304, s3.head_object, Bucket=BUCKET, Key="cond", IfNoneMatch=etag)
    refused(412, s3.get_object, Bucket=BUCKET, Key="cond", IfUnmodifiedSince=now - day)
    if "IfNoneMatch" in members("PutObject"):
        refused(412, s3.put_object, Bucket=BUCKET, Key="cond", Body=b"two", IfNoneMatch="*")
        s3.put_object(Bucket=BUCKET, Key="cond-new", Body=b"two", IfNoneMatch="*")
    if "IfMatch" in members("PutObject"):
        refused(412, s3.put_object, Bucket=BUCKET, Key="cond", Body=b"two", IfMatch='"other"')
        s3.put_object(Bucket=BUCKET, Key="cond", Body=b"two", IfMatch=etag)
        assert read("cond") == b"two"


def unicode_keys():
    keys = ["über/ключ 日本.txt", "a+b&c=d?e#f%20g'h\"i", "sp ace/ x", "~tilde/(paren)!*;:@,$", "🙂", "e\u0301 and é", "back\\slash"]
    for key in keys:
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    for key in keys:
        assert read(key) == key.encode(), key
    listed = [o["Key"] for o in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    for key in keys:
        assert key in listed, key
    assert listed == sorted(listed, key=lambda k: k.encode()), listed
    s3.copy_object(Bucket=BUCKET, Key="kopie von ü", CopySource={"Bucket": BUCKET, "Key": keys[0]})
    assert read("kopie von ü") == keys[0].encode()


def odd_names():
    """Keys that POSIX cannot name, and an object beside a directory of its name."""
    keys = ["odd/a", "odd/a/b", "odd/x//y", "odd/./z", "odd/../w", "odd/slash/", "odd/" + "n" * 300, "odd/a-b"]
    for key in keys:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"" if key.endswith("/") else key.encode())
    listed = [o["Key"] for o in s3.list_objects_v2(Bucket=BUCKET, Prefix="odd/")["Contents"]]
    assert listed == sorted(keys), listed
    for key in keys:
        assert read(key) == (b"" if key.endswith("/") else key.encode()), key
    for key in keys:
        s3.delete_object(Bucket=BUCKET, Key=key)
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="odd/")["KeyCount"] == 0


def listing():
    keys = ["list/%s%03d" % (d, i) for d in ("a/", "b/", "b-", "") for i in range(25)]
    for key in keys:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    for page in (1, 7, 1000):
        got = [o["Key"] for p in s3.get_paginator("list_objects_v2").paginate(
            Bucket=BUCKET, Prefix="list/", PaginationConfig={"PageSize": page}) for o in p.get("Contents", [])]
        assert got == sorted(keys), page
        prefixes, contents = [], []
        for p in s3.get_paginator("list_objects").paginate(
                Bucket=BUCKET, Prefix="list/", Delimiter="/", PaginationConfig={"PageSize": page}):
            prefixes += [c["Prefix"] for c in p.get("CommonPrefixes", [])]
            contents += [o["Key"] for o in p.get("Contents", [])]
        assert prefixes == ["list/a/", "list/b/"], prefixes
        assert contents == sorted(k for k in keys if k.count("/") == 1), page
    after = s3.list_objects_v2(Bucket=BUCKET, Prefix="list/", StartAfter="list/b/010")["Contents"]
    assert [o["Key"] for o in after] == [k for k in sorted(keys) if k > "list/b/010"]
    one = s3.list_objects_v2(Bucket=BUCKET, Prefix="list/0", MaxKeys=3)
    assert one["KeyCount"] == 3 and one["IsTruncated"]
    assert all(o["Size"] == 1 and o["ETag"] for o in one["Contents"])


def multipart():
    parts = [os.urandom(5 << 20), os.urandom(6 << 20), os.urandom(1234)]
    up = s3.create_multipart_upload(Bucket=BUCKET, Key="multi/part", ContentType="x/y", Metadata={"k": "v"})["UploadId"]
    etags = {}
    for n in (3, 1, 2):
        etags[n] = s3.upload_part(Bucket=BUCKET, Key="multi/part", UploadId=up, PartNumber=n, Body=parts[n - 1])["ETag"]
    listed = s3.list_parts(Bucket=BUCKET, Key="multi/part", UploadId=up)["Parts"]
    assert [(p["PartNumber"], p["Size"], p["ETag"]) for p in listed] == [(n, len(parts[n - 1]), etags[n]) for n in (1, 2, 3)]
    paged = s3.list_parts(Bucket=BUCKET, Key="multi/part", UploadId=up, MaxParts=2)
    assert paged["IsTruncated"] and paged["NextPartNumberMarker"] == 2
    uploads = s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    assert (up, "multi/part") in [(u["UploadId"], u["Key"]) for u in uploads], uploads
    refused(404, s3.head_object, Bucket=BUCKET, Key="multi/part")
    refused("InvalidPart", s3.complete_multipart_upload, Bucket=BUCKET, Key="multi/part", UploadId=up,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": '"%s"' % ("0" * 32)}]})
    refused("InvalidPartOrder", s3.complete_multipart_upload, Bucket=BUCKET, Key="multi/part", UploadId=up,
            MultipartUpload={"Parts": [{"PartNumber": n, "ETag": etags[n]} for n in (2, 1)]})
    done = s3.complete_multipart_upload(Bucket=BUCKET, Key="multi/part", UploadId=up,
                                        MultipartUpload={"Parts": [{"PartNumber": n, "ETag": etags[n]} for n in (1, 2, 3)]})
    whole = hashlib.md5(b"".join(bytes.fromhex(etags[n].strip('"')) for n in (1, 2, 3))).hexdigest()
    assert done["ETag"] == '"%s-3"' % whole, done["ETag"]
    head = s3.head_object(Bucket=BUCKET, Key="multi/part")
    assert head["Metadata"] == {"k": "v"} and head["ContentType"] == "x/y"
    assert read("multi/part") == b"".join(parts)
    assert read("multi/part", Range="bytes=5242870-5242889") == b"".join(parts)[5242870:5242890]
    refused("NoSuchUpload", s3.list_parts, Bucket=BUCKET, Key="multi/part", UploadId=up)

    up = s3.create_multipart_upload(Bucket=BUCKET, Key="multi/copy")["UploadId"]
    source = {"Bucket": BUCKET, "Key": "multi/part"}
    one = s3.upload_part_copy(Bucket=BUCKET, Key="multi/copy", UploadId=up, PartNumber=1, CopySource=source,
                              CopySourceRange="bytes=100-%d" % (100 + (5 << 20) - 1))["CopyPartResult"]["ETag"]
    two = s3.upload_part_copy(Bucket=BUCKET, Key="multi/copy", UploadId=up, PartNumber=2, CopySource=source)["CopyPartResult"]["ETag"]
    s3.complete_multipart_upload(Bucket=BUCKET, Key="multi/copy", UploadId=up,
                                 MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": one}, {"PartNumber": 2, "ETag": two}]})
    assert read("multi/copy") == b"".join(parts)[100:100 + (5 << 20)] + b"".join(parts)

    up = s3.create_multipart_upload(Bucket=BUCKET, Key="multi/small")["UploadId"]
    tags = [s3.upload_part(Bucket=BUCKET, Key="multi/small", UploadId=up, PartNumber=n, Body=b"tiny")["ETag"] for n in (1, 2)]
    refused("EntityTooSmall", s3.complete_multipart_upload, Bucket=BUCKET, Key="multi/small", UploadId=up,
            MultipartUpload={"Parts": [{"PartNumber": n + 1, "ETag": tags[n]} for n in (0, 1)]})
    s3.abort_multipart_upload(Bucket=BUCKET, Key="multi/small", UploadId=up)
    refused("NoSuchUpload", s3.abort_multipart_upload, Bucket=BUCKET, Key="multi/small", UploadId=up)
    assert not s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads")


def copies():
    s3.put_object(Bucket=BUCKET, Key="src", Body=b"source" * 10_000, ContentType="a/a", Metadata={"m": "1"})
    source = {"Bucket": BUCKET, "Key": "src"}
    s3.copy_object(Bucket=BUCKET, Key="dst", CopySource=source)
    head = s3.head_object(Bucket=BUCKET, Key="dst")
    assert head["Metadata"] == {"m": "1"} and head["ContentType"] == "a/a"
    s3.copy_object(Bucket=BUCKET, Key="dst", CopySource=source, MetadataDirective="REPLACE", ContentType="b/b", Metadata={"m": "2"})
    head = s3.head_object(Bucket=BUCKET, Key="dst")
    assert head["Metadata"] == {"m": "2"} and head["ContentType"] == "b/b"
    s3.copy_object(Bucket=BUCKET, Key="dst", CopySource={"Bucket": BUCKET, "Key": "dst"}, MetadataDirective="REPLACE", Metadata={"m": "3"})
    assert s3.head_object(Bucket=BUCKET, Key="dst")["Metadata"] == {"m": "3"}
    s3.delete_object(Bucket=BUCKET, Key="src")
    assert read("dst") == b"source" * 10_000
    refused("NoSuchKey", s3.copy_object, Bucket=BUCKET, Key="x", CopySource=source)
    refused("InvalidRequest", s3.copy_object, Bucket=BUCKET, Key="dst", CopySource={"Bucket": BUCKET, "Key": "dst"})


def checksums():
    if "ChecksumAlgorithm" not in members("PutObject"):
        return
    body = os.urandom(200_000)
    for algorithm in ("CRC32", "SHA1", "SHA256"):
        put = s3.put_object(Bucket=BUCKET, Key="sum-" + algorithm, Body=body, ChecksumAlgorithm=algorithm)
        assert put.get("Checksum" + algorithm), put
        got = s3.get_object(Bucket=BUCKET, Key="sum-" + algorithm, ChecksumMode="ENABLED")
        assert got["Body"].read() == body
        assert got.get("Checksum" + algorithm) == put["Checksum" + algorithm], got
    refused("BadDigest", s3.put_object, Bucket=BUCKET, Key="bad-md5", Body=b"x", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==")
    refused(404, s3.head_object, Bucket=BUCKET, Key="bad-md5")


def presigned():
    # boto3 presigns by version 2 unless told.
    s3 = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], config=Config(signature_version="s3v4"))
    url = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "pre signed/ü"}, ExpiresIn=60)
    with urllib.request.urlopen(urllib.request.Request(url, data=b"by url", method="PUT")) as r:
        assert r.status == 200
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "pre signed/ü"}, ExpiresIn=60)
    with urllib.request.urlopen(url) as r:
        assert r.read() == b"by url"
    try:
        urllib.request.urlopen(url[:-1] + ("0" if url[-1] != "0" else "1"))
        raise AssertionError("a changed signature must be refused")
    except urllib.error.HTTPError as e:
        assert e.code == 403, e.code


def deletes():
    s3.delete_object(Bucket=BUCKET, Key="absent")
    refused("BucketNotEmpty", s3.delete_bucket, Bucket=BUCKET)
    keys = [o["Key"] for p in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET) for o in p.get("Contents", [])]
    answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": k} for k in keys[:1]]})
    assert [d["Key"] for d in answer["Deleted"]] == keys[:1], answer
    answer = s3.delete_objects(Bucket=BUCKET, Delete={"Quiet": True, "Objects": [{"Key": k} for k in keys]})
    assert not answer.get("Errors") and not answer.get("Deleted"), answer
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0
    s3.delete_bucket(Bucket=BUCKET)
    refused(404, s3.head_bucket, Bucket=BUCKET)


def versions():
    b = BUCKET + "-versions"
    s3.create_bucket(Bucket=b)
    s3.put_object(Bucket=b, Key="k", Body=b"null")
    s3.put_bucket_versioning(Bucket=b, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=b)["Status"] == "Enabled"
    ids = ["null"] + [s3.put_object(Bucket=b, Key="k", Body=b"v%d" % i)["VersionId"] for i in (1, 2)]
    marker = s3.delete_object(Bucket=b, Key="k")
    assert marker["DeleteMarker"], marker
    refused("NoSuchKey", s3.get_object, Bucket=b, Key="k")
    refused(405, s3.head_object, Bucket=b, Key="k", VersionId=marker["VersionId"])
    pages = list(s3.get_paginator("list_object_versions").paginate(Bucket=b, PaginationConfig={"PageSize": 1}))
    assert [v["VersionId"] for p in pages for v in p.get("Versions", [])] == ids[::-1], pages
    assert [(m["VersionId"], m["IsLatest"]) for p in pages for m in p.get("DeleteMarkers", [])] == [(marker["VersionId"], True)]
    for i, body in zip(ids, (b"null", b"v1", b"v2")):
        assert s3.get_object(Bucket=b, Key="k", VersionId=i)["Body"].read() == body
    s3.delete_object(Bucket=b, Key="k", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket=b, Key="k")["VersionId"] == ids[2]
    s3.copy_object(Bucket=b, Key="k", CopySource={"Bucket": b, "Key": "k", "VersionId": ids[1]})
    assert s3.get_object(Bucket=b, Key="k")["Body"].read() == b"v1"
    refused("NoSuchVersion", s3.get_object, Bucket=b, Key="k", VersionId=marker["VersionId"])
    refused("BucketNotEmpty", s3.delete_bucket, Bucket=b)
    empty(b)


def empty(b, **how):
    for p in s3.get_paginator("list_object_versions").paginate(Bucket=b):
        for v in p.get("Versions", []) + p.get("DeleteMarkers", []):
            s3.delete_object(Bucket=b, Key=v["Key"], VersionId=v["VersionId"], **how)
    s3.delete_bucket(Bucket=b)


def locks():
    b = BUCKET + "-locks"
    refused("ObjectLockConfigurationNotFoundError", s3.get_object_lock_configuration, Bucket=BUCKET)
    s3.create_bucket(Bucket=b, ObjectLockEnabledForBucket=True)
    assert s3.get_bucket_versioning(Bucket=b)["Status"] == "Enabled"
    refused("InvalidBucketState", s3.put_bucket_versioning, Bucket=b, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object_lock_configuration(Bucket=b, ObjectLockConfiguration={
        "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}})
    assert s3.get_object_lock_configuration(Bucket=b)["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]["Days"] == 1
    v = s3.put_object(Bucket=b, Key="k", Body=b"held")["VersionId"]
    assert s3.head_object(Bucket=b, Key="k")["ObjectLockMode"] == "GOVERNANCE"
    refused("AccessDenied", s3.delete_object, Bucket=b, Key="k", VersionId=v)
    answer = s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": "k", "VersionId": v}]})
    assert answer["Errors"][0]["Code"] == "AccessDenied", answer
    later = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(days=30)
    s3.put_object_retention(Bucket=b, Key="k", VersionId=v, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": later})
    assert s3.get_object_retention(Bucket=b, Key="k", VersionId=v)["Retention"]["RetainUntilDate"] == later
    sooner = later - datetime.timedelta(days=10)
    shorter = dict(Bucket=b, Key="k", VersionId=v, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": sooner})
    refused("AccessDenied", s3.put_object_retention, **shorter)
    s3.put_object_retention(BypassGovernanceRetention=True, **shorter)
    s3.put_object_legal_hold(Bucket=b, Key="k", VersionId=v, LegalHold={"Status": "ON"})
    assert s3.get_object_legal_hold(Bucket=b, Key="k")["LegalHold"]["Status"] == "ON"
    refused("AccessDenied", s3.delete_object, Bucket=b, Key="k", VersionId=v, BypassGovernanceRetention=True)
    s3.delete_object(Bucket=b, Key="k")  # a marker: nothing is lost
    assert s3.get_object(Bucket=b, Key="k", VersionId=v)["Body"].read() == b"held"
    refused("BucketNotEmpty", s3.delete_bucket, Bucket=b)
    s3.put_object_legal_hold(Bucket=b, Key="k", VersionId=v, LegalHold={"Status": "OFF"})

    soon = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(seconds=3)
    c = s3.put_object(Bucket=b, Key="c", Body=b"c", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=soon)["VersionId"]
    for _ in range(120):  # it can be removed when its retention has ended, and not before, whatever is asked
        try:
            s3.delete_object(Bucket=b, Key="c", VersionId=c, BypassGovernanceRetention=True)
            break
        except ClientError as e:
            assert e.response["Error"]["Code"] == "AccessDenied", e
            time.sleep(0.5)
    assert datetime.datetime.now(datetime.timezone.utc) >= soon, "removed before its retention ended"
    refused("NoSuchVersion", s3.get_object, Bucket=b, Key="c", VersionId=c)
    empty(b, BypassGovernanceRetention=True)


failed = []
for step in (buckets, objects, ranges, conditions, unicode_keys, odd_names, listing, multipart, copies, checksums, presigned, versions, locks, deletes):
    try:
        step()
    except Exception:
        import traceback
        failed.append(step.__name__)
        print("FAILED:", step.__name__, flush=True)
        traceback.print_exc()
sys.exit(", ".join(failed) if failed else 0)
