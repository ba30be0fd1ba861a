"""An S3 server that checks signatures: moto, with a few buckets and users. To be run by the Python in target/py/s3.

    s3_server.py FOLDER [BUCKET...]

The files below FOLDER become the objects of the buckets `eodata`, `one`, `two` and `paying`, or of those that are named. The first line on standard
output is a JSON object with its `port` and the keys of its users, as options of GDAL: `reader` may read everything, `one`
and `two` the bucket of their name, `passing` has a session token. The bucket `paying` is that of a requester who pays: it
answers requests alone that say so in a header that is signed. It ends when standard input closes.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ.update(AWS_ACCESS_KEY_ID="setup", AWS_SECRET_ACCESS_KEY="setup", AWS_DEFAULT_REGION="us-east-1")

import boto3  # noqa: E402
from moto import settings  # noqa: E402
from moto.core.authorization import ActionAuthenticatorMixin  # noqa: E402
from moto.server import DomainDispatcherApplication, create_backend_app  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402

BUCKETS = ("eodata", "one", "two", "paying")


class Payer:
    """What stands before moto and demands that the requester pays."""

    def __init__(self) -> None:
        self.behind = DomainDispatcherApplication(create_backend_app)
        self.demands = False

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        pays = environ.get("HTTP_X_AMZ_REQUEST_PAYER") == "requester"
        signs = "x-amz-request-payer" in environ.get("HTTP_AUTHORIZATION", "")
        if self.demands and environ["PATH_INFO"].startswith("/paying/") and not (pays and signs):
            start("403 Forbidden", [("Content-Length", "0")])
            return [b""]
        return self.behind(environ, start)


def allow(*buckets: str) -> str:
    """A policy that lets its user read these buckets."""
    resources = [f"arn:aws:s3:::{bucket}{end}" for bucket in buckets for end in ("", "/*")]
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": resources}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def main() -> None:
    """Serves until standard input closes."""
    folder = Path(sys.argv[1])
    application = Payer()
    server = make_server("127.0.0.1", 0, application, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.port}"
    s3, iam, sts = (boto3.client(name, endpoint_url=url) for name in ("s3", "iam", "sts"))
    for bucket in sys.argv[2:] or BUCKETS:
        s3.create_bucket(Bucket=bucket)
        for file in folder.rglob("*"):
            if file.is_file():
                s3.upload_file(str(file), bucket, str(file.relative_to(folder)))
    told: dict[str, Any] = {"port": server.port}
    for user, buckets in {"reader": BUCKETS, "one": ["one"], "two": ["two"]}.items():
        iam.create_user(UserName=user)
        iam.put_user_policy(UserName=user, PolicyName="read", PolicyDocument=allow(*buckets))
        key = iam.create_access_key(UserName=user)["AccessKey"]
        told[user] = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    role = iam.create_role(RoleName="passing", AssumeRolePolicyDocument=allow("eodata"))["Role"]
    iam.put_role_policy(RoleName="passing", PolicyName="read", PolicyDocument=allow("eodata"))
    passing = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="test")["Credentials"]
    told["passing"] = {
        "AWS_ACCESS_KEY_ID": passing["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": passing["SecretAccessKey"],
        "AWS_SESSION_TOKEN": passing["SessionToken"],
    }
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0.0
    ActionAuthenticatorMixin.request_count = 0
    application.demands = True
    print(json.dumps(told), flush=True)
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main()
