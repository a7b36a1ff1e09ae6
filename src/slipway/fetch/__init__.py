"""Models fetched into a directory: the program `slipway-fetch`, which runs as an init container (`docs/fetching.md`).

`uri` reads what is wanted; a source (`web`, `hub`, `image`, `objects`) says which files that is, as a `Plan`, and reads
them; `download` brings them, with retries and resuming; `deliver` checks, unpacks and puts them in place, through the
node's cache (`cache`, whose policy is `eviction`) where there is one.
"""

from __future__ import annotations

from slipway.fetch.checksum import checksum
from slipway.fetch.errors import FetchError
from slipway.fetch.job import Job, Tools, fetch

__all__ = ["FetchError", "Job", "Tools", "checksum", "fetch"]
