"""The workspace's memory: outputs by fingerprint, and locks. Knows no stage and no recipe."""

from da_kd.store.locks import hold, holder, holding
from da_kd.store.outputs import Output, Store, library_versions, write_json

__all__ = ["Output", "Store", "hold", "holder", "holding", "library_versions", "write_json"]
