"""Parameter-free ways to turn what a trunk computes into a weight vector."""
