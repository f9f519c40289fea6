"""Floor 1: HyperSpy signal <-> labelled xarray. The only place that reads or writes metadata."""
