"""Traces: what a switch said, in a file; taken, masked, and replayed through the engine's own parts."""
