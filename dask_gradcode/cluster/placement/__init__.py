"""Which worker holds what, from the placing of data to the recovery of a lost role."""
