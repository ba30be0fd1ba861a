"""References as an Icechunk repository has them: virtual chunks with the state of their files, and a history."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

from .._errors import CubeError
from ._references import END, Chunk, Place, References, places

try:
    import icechunk
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync
except ImportError as error:
    raise ImportError("an Icechunk repository needs icechunk: pip install 'vsitlm[export]'") from error

TIMES_A_MANIFEST = 100
"""Times whose references are kept together: a reader of few times fetches few, and appending writes the last anew."""

LONGEST_REQUEST = 1 << 30
"""Bytes: tile-parts are shorter."""

BRANCH = "main"


def open_store(out: str, options: Mapping[str, str]) -> icechunk.IcechunkStore:
    """The store of the newest state of a repository, read-only, with the right to read the archives that it names.

    Raises:
        CubeError: There is none.
    """
    with _told(out):
        return _repository(out, options).readonly_session(BRANCH).store


def read(out: str, options: Mapping[str, str]) -> References:
    """The references of a repository; the states of files it does not tell.

    Raises:
        CubeError: There is none.
    """
    store = open_store(out, options)
    with _told(out):
        found: References = sync(_read(out, store))
    return found


def write(out: str, new: References, options: Mapping[str, str], message: str, *, create: bool) -> None:
    """Writes documents and chunks as one commit. Of a repository that there is, what is not written stays as it is.

    Raises:
        CubeError: There is a repository already, or none, or another has written to it meanwhile.
    """
    prefixes = sorted({_prefix(chunk.url) for _, _, chunk in places(new)})
    with _told(out):
        repository = _create(out, prefixes, options) if create else _repository(out, options, prefixes)
        containers = repository.config.virtual_chunk_containers or {}
        names = {prefix: container.name for prefix, container in containers.items()}
        session = repository.writable_session(BRANCH)
        sync(_write(session.store, new, names))
        session.commit(message)


@contextmanager
def _told(out: str) -> Iterator[None]:
    """What Icechunk fails with, as an error of this package."""
    try:
        yield
    except icechunk.IcechunkError as error:
        raise CubeError(f"the Icechunk repository {out}: {error}") from error


async def _write(store: icechunk.IcechunkStore, new: References, names: Mapping[str, str | None]) -> None:
    prototype = default_buffer_prototype()
    # A chunk is of an array that is there.
    for key in sorted(new.documents, key=lambda key: (not key.endswith("zarr.json"), key.count("/"))):
        await store.set(key, prototype.buffer.from_bytes(new.documents[key]))
    for path, chunks in new.chunks.items():
        specs = [_spec(place, chunk, names) for place, chunk in chunks.items()]
        if refused := await store.set_virtual_refs_async(f"/{path}", specs):
            raise CubeError(f"chunk {refused[0]} of {path} lies in no archive that the repository names")


def _spec(place: Place, chunk: Chunk, names: Mapping[str, str | None]) -> icechunk.VirtualChunkSpec:
    """A chunk, relative to its archive, with the state that its file has to be in."""
    prefix = _prefix(chunk.url)
    path = _absolute(chunk.url).removeprefix(prefix)
    # Names of objects are escaped here; a URL is already.
    path = path if prefix.startswith("http") else quote(path)
    location, etag = f"vcc://{names[prefix]}/{path}", chunk.etag
    if etag and etag.startswith("W/"):
        # It never is what If-Match asks for (RFC 9110, 13.1.1).
        etag = None
    elif etag and prefix.startswith("http"):
        # Icechunk takes a pair of quotes away. S3 does without, others do not.
        etag = f'"{etag}"'
    return icechunk.VirtualChunkSpec(
        list(place), location, chunk.offset, chunk.length,
        etag_checksum=etag, last_updated_at_checksum=None if etag else chunk.modified,
    )  # fmt: skip


async def _read(out: str, store: icechunk.IcechunkStore) -> References:
    prototype = default_buffer_prototype()

    async def document(key: str) -> bytes:
        data = await store.get(key, prototype)
        if data is None:
            raise CubeError(f"{out} is no cube that vsitlm has made: it has no {key}")
        held: bytes = data.to_bytes()
        return held

    documents = {"zarr.json": await document("zarr.json")}
    paths = json.loads(documents["zarr.json"]).get("consolidated_metadata", {}).get("metadata", {})
    documents |= {key: await document(key) for key in (f"{path}{END}" for path in paths)}
    found = References(documents)
    for path, array in found.arrays.items():
        if found.codec(path) is None:
            key = f"{path}/c" + "/0" * len(array["shape"])
            documents[key] = await document(key)
            continue
        chunks: dict[Place, Chunk] = {}
        async for batch in store.array_chunk_iterator(f"/{path}"):
            for numbers, _, url, offset, length in zip(*batch[:5], strict=True):
                time, row, column = map(int, numbers)
                chunks[time, row, column] = Chunk(url, int(offset), int(length))
        found.chunks[path] = chunks
    return found


def _repository(out: str, options: Mapping[str, str], prefixes: list[str] | None = None) -> icechunk.Repository:
    """The repository at a place; `prefixes` are those that it must name."""
    storage = _storage(out, options)
    if not icechunk.Repository.exists(storage):
        raise CubeError(f"there is no Icechunk repository at {out}")
    config = icechunk.Repository.fetch_config(storage)
    there = list(config.virtual_chunk_containers or {}) if config else []
    if missing := set(prefixes or []) - set(there):
        raise CubeError(f"the repository names the archives {', '.join(there)}, and not {', '.join(sorted(missing))}")
    return icechunk.Repository.open(storage, authorize_virtual_chunk_access=_allowed(there, options))


def _create(out: str, prefixes: list[str], options: Mapping[str, str]) -> icechunk.Repository:
    """A new repository, that may read what lies below `prefixes`."""
    storage = _storage(out, options)
    if icechunk.Repository.exists(storage):
        raise CubeError(f"there is a repository at {out} already: put times to it by appending, or delete it")
    config = icechunk.RepositoryConfig.default()
    for number, prefix in enumerate(prefixes):
        # Chunks name their container: an archive that moves is a change of one line.
        container = icechunk.VirtualChunkContainer(prefix, _archive(prefix, options), name=f"archive{number or ''}")
        config.set_virtual_chunk_container(container)
    # A tile is one request, however long it is.
    alone = icechunk.StorageConcurrencySettings(
        max_concurrent_requests_for_object=1, ideal_concurrent_request_size=LONGEST_REQUEST
    )
    config.storage = icechunk.StorageSettings(concurrency=alone)
    every = icechunk.ManifestSplitCondition.AnyArray()
    along = icechunk.ManifestSplitDimCondition.DimensionName("time")
    splitting = icechunk.ManifestSplittingConfig.from_dict({every: {along: TIMES_A_MANIFEST}})
    config.manifest = icechunk.ManifestConfig(splitting=splitting)
    allowed = _allowed(prefixes, options)
    return icechunk.Repository.create(storage, config=config, authorize_virtual_chunk_access=allowed)


def _absolute(url: str) -> str:
    """A URL; paths become those of files.

    Raises:
        CubeError: It has a query: a signature ends, and is a secret.
    """
    if "://" not in url:
        return f"file://{os.path.abspath(url)}"
    if "?" in url and url.startswith("http"):
        raise CubeError("files whose URLs have a query cannot be referenced by an Icechunk repository")
    return url


def _prefix(url: str) -> str:
    """What a URL begins with: its bucket or host; a local file's first folder."""
    scheme, host, path, _, _ = urlsplit(_absolute(url))
    return f"file:///{path.split('/')[1]}/" if scheme == "file" else f"{scheme}://{host}/"


def _storage(out: str, options: Mapping[str, str]) -> icechunk.Storage:
    """Where a repository lies: a local folder, or `s3://bucket/prefix`."""
    if not out.startswith("s3://"):
        return icechunk.local_filesystem_storage(out)
    bucket, _, prefix = out.removeprefix("s3://").partition("/")
    return icechunk.s3_storage(bucket=bucket, prefix=prefix, from_env=True, **_s3(options))


def _archive(prefix: str, options: Mapping[str, str]) -> icechunk.ObjectStoreConfig:
    """How an archive is read."""
    scheme = prefix.partition(":")[0]
    if scheme == "s3":
        pays = _option(options, "AWS_REQUEST_PAYER") == "requester"
        return icechunk.s3_store(s3_compatible=True, requester_pays=pays, **_s3(options))
    if scheme in ("gs", "gcs"):
        return icechunk.gcs_store()
    if scheme in ("http", "https"):
        return icechunk.http_store({"allow_http": "true"} if scheme == "http" else None)
    if scheme == "file":
        return icechunk.local_filesystem_store(prefix.removeprefix("file://"))
    raise CubeError(f"Icechunk reads no archive of {prefix}")


def _allowed(prefixes: list[str], options: Mapping[str, str]) -> object:
    """The credentials for archives: those of the environment, or none where AWS_NO_SIGN_REQUEST says so."""
    anonymous = _option(options, "AWS_NO_SIGN_REQUEST").upper() in ("YES", "TRUE", "1")
    credentials = {
        "s3": icechunk.s3_anonymous_credentials() if anonymous else icechunk.s3_from_env_credentials(),
        "gs": icechunk.GcsCredentials.Anonymous(),
        "gcs": icechunk.GcsCredentials.Anonymous(),
        "http": icechunk.credentials.HttpAccess,
        "https": icechunk.credentials.HttpAccess,
        "file": icechunk.credentials.LocalFileSystemAccess,
    }
    return icechunk.containers_credentials({prefix: credentials[prefix.partition(":")[0]] for prefix in prefixes})


def _s3(options: Mapping[str, str]) -> dict[str, object]:
    """Icechunk's settings of S3, by the options of GDAL's that name an endpoint."""
    endpoint, secure = (
        _option(options, "AWS_S3_ENDPOINT"),
        _option(options, "AWS_HTTPS").upper() not in ("NO", "FALSE", "0"),
    )
    settings: dict[str, object] = {"region": _option(options, "AWS_REGION") or "us-east-1"}
    if endpoint:
        url = endpoint if "://" in endpoint else f"{'https' if secure else 'http'}://{endpoint}"
        settings |= {"endpoint_url": url, "allow_http": url.startswith("http://"), "force_path_style": True}
    return settings


def _option(options: Mapping[str, str], name: str) -> str:
    """A configuration option, or the variable of that name."""
    return str(options.get(name) or os.environ.get(name, ""))
