"""Files on disk: what is written is never lost half-way, and what is read is checked before it is believed."""
