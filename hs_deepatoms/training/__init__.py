"""Floor 2: the fit loop and the losses."""
