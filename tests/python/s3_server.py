"""An S3 server that checks signatures: moto, with one bucket and one user. To be run by the Python in target/py/s3.

    s3_server.py FOLDER

The files below FOLDER become the objects of the bucket `eodata`. The first line on standard output is a JSON object
with `port`, `key` and `secret`. It ends when standard input closes.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ.update(AWS_ACCESS_KEY_ID="setup", AWS_SECRET_ACCESS_KEY="setup", AWS_DEFAULT_REGION="us-east-1")

import boto3  # noqa: E402
from moto import settings  # noqa: E402
from moto.core.authorization import ActionAuthenticatorMixin  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

ALL_OF_S3 = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


def main() -> None:
    """Serves until standard input closes."""
    folder = Path(sys.argv[1])
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    url = f"http://127.0.0.1:{port}"
    s3, iam = (boto3.client(name, endpoint_url=url) for name in ("s3", "iam"))
    s3.create_bucket(Bucket="eodata")
    for file in folder.rglob("*"):
        if file.is_file():
            s3.upload_file(str(file), "eodata", str(file.relative_to(folder)))
    iam.create_user(UserName="reader")
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=json.dumps(ALL_OF_S3))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0.0
    ActionAuthenticatorMixin.request_count = 0
    print(json.dumps({"port": port, "key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}), flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
