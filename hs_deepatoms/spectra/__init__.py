"""Floor 3: images and spectra predicted from one another, and unmixing of spectrum images."""
