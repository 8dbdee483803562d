"""Folders in an object store (S3, R2): address, requests, copies on the local disk, the folder."""
