"""Imported by a function only."""

VALUE = "found"
