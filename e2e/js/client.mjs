// Walks @aws-sdk/client-s3 through the object API. Arguments: bucket.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import { Readable } from "node:stream";
import * as s from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const Bucket = process.argv[2];
const s3 = new s.S3Client({ endpoint: process.env.S3_ENDPOINT, forcePathStyle: true, maxAttempts: 1 });
const send = (Command, args = {}) => s3.send(new Command({ Bucket, ...args }));
const read = async (args) => Buffer.from(await (await send(s.GetObjectCommand, args)).Body.transformToByteArray());
const refused = (status, promise) =>
  assert.rejects(promise, (e) => (assert.equal(e.$metadata?.httpStatusCode, status, String(e)), true));

await send(s.CreateBucketCommand);
await send(s.HeadBucketCommand);
assert((await s3.send(new s.ListBucketsCommand({}))).Buckets.some((b) => b.Name === Bucket));

// put, get, metadata, ranges
const body = crypto.randomBytes(300_000);
const put = await send(s.PutObjectCommand, { Key: "plain", Body: body, ContentType: "text/x-k3", Metadata: { color: "blue" } });
assert.equal(put.ETag, `"${crypto.createHash("md5").update(body).digest("hex")}"`);
assert(put.ChecksumCRC32, "the SDK sends a CRC-32 by default, and the answer repeats it");
assert((await read({ Key: "plain" })).equals(body));
assert((await read({ Key: "plain", Range: "bytes=1000-1999" })).equals(body.subarray(1000, 2000)));
const head = await send(s.HeadObjectCommand, { Key: "plain" });
assert.equal(head.Metadata.color, "blue");
assert.equal(head.ContentType, "text/x-k3");
assert.equal(head.ContentLength, body.length);

// a stream of known length goes as aws-chunked with a trailer
const stream = Readable.from([body.subarray(0, 100_000), body.subarray(100_000)]);
await send(s.PutObjectCommand, { Key: "stream", Body: stream, ContentLength: body.length });
assert((await read({ Key: "stream" })).equals(body));
for (const ChecksumAlgorithm of ["CRC32", "CRC32C", "SHA1", "SHA256"]) {
  await send(s.PutObjectCommand, { Key: `sum-${ChecksumAlgorithm}`, Body: body, ChecksumAlgorithm });
  assert((await read({ Key: `sum-${ChecksumAlgorithm}`, ChecksumMode: "ENABLED" })).equals(body));
}

// conditions and errors
await refused(304, send(s.GetObjectCommand, { Key: "plain", IfNoneMatch: put.ETag }));
await refused(412, send(s.GetObjectCommand, { Key: "plain", IfMatch: '"other"' }));
await refused(412, send(s.PutObjectCommand, { Key: "plain", Body: "x", IfNoneMatch: "*" }));
await refused(404, send(s.GetObjectCommand, { Key: "absent" }));
await refused(416, send(s.GetObjectCommand, { Key: "plain", Range: "bytes=300000-" }));

// unicode keys
const keys = ["über/ключ 日本.txt", "a+b&c=d?e#f%20g'h", "🙂/(x)!*~"];
for (const Key of keys) await send(s.PutObjectCommand, { Key, Body: Key });
for (const Key of keys) assert.equal((await read({ Key })).toString(), Key);

// multipart
const large = crypto.randomBytes(17 << 20);
await new Upload({ client: s3, params: { Bucket, Key: "large", Body: large }, partSize: 5 << 20, queueSize: 3 }).done();
assert((await read({ Key: "large" })).equals(large));
const { UploadId } = await send(s.CreateMultipartUploadCommand, { Key: "byhand" });
const part = await send(s.UploadPartCommand, { Key: "byhand", UploadId, PartNumber: 1, Body: large.subarray(0, 5 << 20) });
const copied = await send(s.UploadPartCopyCommand, { Key: "byhand", UploadId, PartNumber: 2, CopySource: `${Bucket}/large`, CopySourceRange: "bytes=5242880-6291455" });
assert.equal((await send(s.ListPartsCommand, { Key: "byhand", UploadId })).Parts.length, 2);
await send(s.CompleteMultipartUploadCommand, {
  Key: "byhand", UploadId,
  MultipartUpload: { Parts: [{ PartNumber: 1, ETag: part.ETag }, { PartNumber: 2, ETag: copied.CopyPartResult.ETag }] },
});
assert((await read({ Key: "byhand" })).equals(large.subarray(0, 6291456)));
const gone = (await send(s.CreateMultipartUploadCommand, { Key: "gone" })).UploadId;
await send(s.AbortMultipartUploadCommand, { Key: "gone", UploadId: gone });
assert.equal((await send(s.ListMultipartUploadsCommand)).Uploads?.length ?? 0, 0);

// copy, list, presign, delete
await send(s.CopyObjectCommand, { Key: "copy/ü", CopySource: `${Bucket}/${encodeURIComponent(keys[0])}` });
assert.equal((await read({ Key: "copy/ü" })).toString(), keys[0]);
const listed = [];
for await (const page of s.paginateListObjectsV2({ client: s3, pageSize: 3 }, { Bucket })) listed.push(...page.Contents.map((o) => o.Key));
assert.equal(new Set(listed).size, 2 + 4 + keys.length + 3, listed.join(" "));
const top = await send(s.ListObjectsV2Command, { Delimiter: "/" });
assert.deepEqual(top.CommonPrefixes.map((p) => p.Prefix), ["copy/", "über/", "🙂/"]);
const url = await getSignedUrl(s3, new s.GetObjectCommand({ Bucket, Key: keys[0] }), { expiresIn: 60 });
assert.equal(await (await fetch(url)).text(), keys[0]);
await send(s.DeleteObjectCommand, { Key: "plain" });
await refused(404, send(s.HeadObjectCommand, { Key: "plain" }));
const { Deleted } = await send(s.DeleteObjectsCommand, { Delete: { Objects: listed.map((Key) => ({ Key })) } });
assert.equal(Deleted.length, listed.length);
await send(s.DeleteBucketCommand);
await refused(404, send(s.HeadBucketCommand));
