"""Examines a deployment: what is wrong, where, and what to do about it. Changes nothing and cleans up what it made."""
