"""Fixed numbers that are made again from a seed instead of being stored, the same on every machine. NumPy alone.

A table is one Philox stream of its own (``philox.Stream``). Proofs and checkers import these files and never torch.
"""
