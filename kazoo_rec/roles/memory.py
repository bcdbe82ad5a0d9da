"""Memory that is free goes back to the system. glibc keeps what lies before something that is used, so that each burst
of work leaves a process larger: by 3 MB an engine, by 12 MB a delivery in half an hour of faults (bench/soak.py)."""

import ctypes

#: Seconds between two times.
GIVE_BACK_EVERY_S = 60.0

#: None where the C library is another.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back():
    """Blocks for some milliseconds; to be called on a thread."""
    if _trim is not None:
        _trim(ctypes.c_size_t(0))
