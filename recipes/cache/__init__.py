"""What frozen models compute, kept on disk for every run that shares a folder.

::

    FOLDER/inlay-cache-1/
      <64 hex>/                     a space: one encoder with its layer, preprocessing, geometry, dtype, versions
        facts.json                  what the name is the digest of, for people
        index.json                  shard -> media; a hint that saves reading headers, and can be lost
        <64 hex>.safetensors        a shard, called by the sha256 of its bytes; its tensors by the digests of media
      encoders/<64 hex>.json        what is known of an encoder whose files have not changed, not read again

There are no locks. A shard appears whole, by a rename, and never changes; two processes that compute the same medium
write it twice, and either copy is right. Only names of this very form are ever opened or deleted.
"""

from inlay.recipes.cache.estimate import Estimate
from inlay.recipes.cache.store import CacheStore, CacheWarning, Space

__all__ = ["CacheStore", "CacheWarning", "Estimate", "Space"]
