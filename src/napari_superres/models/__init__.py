"""Models: the table of them, their weights, and engines that run them."""
