"""Downloads an object by boto3's parallel ranged GETs and prints its SHA-256. Arguments: bucket, key."""
import hashlib
import os
import sys
import tempfile

import boto3
from boto3.s3.transfer import TransferConfig

bucket, key = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"])
config = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=16 << 20, max_concurrency=8)
with tempfile.TemporaryDirectory() as tmp:
    path = os.path.join(tmp, "object")
    s3.download_file(bucket, key, path, Config=config)
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
print(digest.hexdigest())
