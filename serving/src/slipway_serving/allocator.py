"""The C library's allocator (glibc: mallopt(3), malloc_trim(3)). Elsewhere nothing happens."""

from __future__ import annotations

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 32 << 20


def give_back() -> None:
    """Returns free memory to the system: loading a model takes far more than keeping it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_large_blocks() -> None:
    """From now on bodies of some megabytes keep their pages: mapping them anew doubles what such a request costs.

    At most 32 MiB of free memory stay with the process for it.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
