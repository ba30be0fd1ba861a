#!/usr/bin/env python3
"""The steps of compose.yaml that are more than a command: fill a bucket with a sample JP2, and read a window of it.

    s3_demo.py load        makes the sample of sample.py (full size; small where SMALL is set) and uploads it
    s3_demo.py read        reads a window through /vsis3/ and through /vsitlm/, and compares

The S3 server and the keys come from AWS_S3_ENDPOINT, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, as GDAL takes them.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import boto3
import rasterio
from botocore.config import Config
from rasterio.windows import Window
from sample import JP2_PATH, make

BUCKET = "eodata"
KEY = f"Sentinel-2/MSI/L2A/2024/06/01/{JP2_PATH}"
WINDOW = Window(1280, 1280, 512, 512)
"""Inside one tile of the sample, full size or small."""


def load() -> None:
    """Makes the sample and puts it into the bucket."""
    endpoint = f"http://{os.environ['AWS_S3_ENDPOINT']}"
    patient = Config(retries={"max_attempts": 20, "mode": "standard"}, s3={"addressing_style": "path"})
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=patient)
    jp2, _ = make(Path("/tmp/sample"), small=bool(os.environ.get("SMALL")), cog=False)
    client.create_bucket(Bucket=BUCKET)
    client.upload_file(str(jp2), BUCKET, KEY)
    print(f"s3://{BUCKET}/{KEY}: {jp2.stat().st_size / 1e6:.1f} MB")


def read() -> int:
    """Reads the window in both ways; 0 when the pixels are the same."""
    results = []
    for prefix in ("", "/vsitlm/"):
        path = f"{prefix}/vsis3/{BUCKET}/{KEY}"
        start = time.perf_counter()
        with rasterio.open(path) as dataset:
            results.append(dataset.read(1, window=WINDOW))
        print(f"{time.perf_counter() - start:6.2f} s  {path}")
    same = bool((results[0] == results[1]).all())
    print("pixels identical" if same else "PIXELS DIFFER")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit({"load": load, "read": read}[sys.argv[1]]())
