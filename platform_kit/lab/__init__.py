"""Experiments: notebooks executed with parameters."""
