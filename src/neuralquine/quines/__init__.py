"""Queried quines: asked for one weight at a time, P equations in P unknowns."""
