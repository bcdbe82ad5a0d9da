"""Callflows: what happens to a call, one action after another."""
