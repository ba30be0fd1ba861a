"""Cubes: time series of one MGRS tile, as xarray Datasets and Zarr stores that answer from the index and the archive,
and as references for others.

```text
index ─► catalogue: which file has which band when ─┐
area ──► grid: which pixels ────────────────────────┴► layout: arrays, chunks ─┬► store ─► zarr, xarray
                                                                               │    └► chunks: windows
                                                                               └► references ─► exports
                                                                                    └► tile: the codecs
```

It needs `vsitlm[zarr]`: Python 3.12 or later, zarr, xarray, pyarrow and pyproj; references need `vsitlm[export]`.
"""
