"""Composition roots, one per process: each builds its parts by hand, starts and stops them."""
