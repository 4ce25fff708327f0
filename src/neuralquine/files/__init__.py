"""Bytes on disk: nothing is lost, and nothing that is read is believed."""
