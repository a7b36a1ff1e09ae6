"""The C library's allocator, told to keep the memory of large bodies instead of giving it back after each."""

from __future__ import annotations

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 32 << 20


def keep_large_blocks() -> None:
    """Bodies of some megabytes cost half the time when their pages need not be mapped anew (glibc: mallopt(3)).

    At most 32 MiB of free memory stay with the process for it. Elsewhere than on glibc nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
