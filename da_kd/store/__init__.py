"""The workspace's memory: outputs by fingerprint, and locks. Knows no stage and no recipe."""

from da_kd.store.locks import hold, holder
from da_kd.store.outputs import Output, Store, library_versions, write_json

__all__ = ["Output", "Store", "hold", "holder", "library_versions", "write_json"]
