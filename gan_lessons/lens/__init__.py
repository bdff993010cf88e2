"""Instruments: they look at any training step, ours or a stranger's, and change nothing in it."""
