"""Floor 2: the positions table: schema, building, joining, units, counts, neighbours, maps, storage."""
