"""What may come as data, how it is cut into blocks, and what a worker holds of it."""
