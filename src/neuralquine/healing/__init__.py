"""Damage, what comes back after it, and a network that watches itself."""
