"""Quines: their kinds, their self-maps and derivatives, and one fresh measurement of each."""
