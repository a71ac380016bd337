"""What runs on a worker to answer a stream."""
