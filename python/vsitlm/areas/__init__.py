"""From an area and a time to numbers: search, then load.

```text
index, STAC items, API ─► search: files of products ─► result ─► load: grid, times, reads ─► xarray
area ─► mgrs: which tiles ────┘
```

It needs `vsitlm[load]`: xarray, pyarrow, pyproj, rasterio and, for what they serve, pystac-client and dask.
"""
