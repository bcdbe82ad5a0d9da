"""Call recording for FreeSWITCH, by policy."""

__version__ = "0.1.0"
