"""Proofs about a stored quine, and the checker of proofs (extra ``proof``). Nothing here needs torch or a solver."""
