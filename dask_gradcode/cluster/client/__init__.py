"""Dask's client, made safe against frozen workers."""
