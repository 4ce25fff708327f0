"""Networks that can hold a quine's weights, and what runs, describes and builds them."""
