"""Fills an Azurite: containers, blobs, signatures. To be run by the Python in target/py/azure.

    azure_fill.py URL FOLDER

The files below FOLDER become the blobs of the containers `open`, which everybody may read, and `closed`. Prints a JSON
object with the account's key and with shared access signatures: `sas` of the container, `late` that has ended.
"""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path

from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's, by its documentation; no secret."""


def signature(year: int) -> str:
    """A signature that lets read the closed container until the end of that year."""
    end = datetime.datetime(year, 12, 31, tzinfo=datetime.timezone.utc)
    return generate_container_sas(
        ACCOUNT, "closed", account_key=KEY, permission=ContainerSasPermissions(read=True), expiry=end
    )


def main() -> None:
    """The command line."""
    url, folder = sys.argv[1], Path(sys.argv[2])
    service = BlobServiceClient(f"{url}/{ACCOUNT}", credential=KEY)
    for name, access in (("open", "blob"), ("closed", None)):
        container = service.create_container(name, public_access=access)
        for file in folder.rglob("*"):
            if file.is_file():
                container.upload_blob(str(file.relative_to(folder)), file.read_bytes())
    print(json.dumps({"account": ACCOUNT, "key": KEY, "sas": signature(2090), "late": signature(2020)}))


if __name__ == "__main__":
    main()
