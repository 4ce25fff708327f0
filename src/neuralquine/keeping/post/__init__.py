"""The post from start to end: its network, its loops, what became of them, and one page that shows it."""
