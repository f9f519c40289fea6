"""Floor 3: bonds, rings, structures for simulation codes, and what changes in time. Pure functions on arrays."""
