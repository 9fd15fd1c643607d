"""Uploads a file in 64 MiB parts, several at a time. Arguments: file, bucket, key."""
import os
import sys

import boto3
from boto3.s3.transfer import TransferConfig

path, bucket, key = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"])
s3.upload_file(path, bucket, key, Config=TransferConfig(multipart_chunksize=64 << 20, max_concurrency=4))
