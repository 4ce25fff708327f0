"""Finding weights that print themselves."""
