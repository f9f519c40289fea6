"""Floor 0: errors, optional imports, seeds, device choice, progress. Imports nothing of ours."""
