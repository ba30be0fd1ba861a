"""Cubes: time series of one MGRS tile, as xarray Datasets and Zarr stores that answer from the index and the archive.

```text
index ─► catalogue: which file has which band when ─► layout: arrays, chunks ─► store ─► zarr, xarray
area ──► grid: which pixels                                                      └► chunks: windows of files
```

It needs `vsitlm[zarr]`: Python 3.12 or later, zarr, xarray, pyarrow and pyproj.
"""
