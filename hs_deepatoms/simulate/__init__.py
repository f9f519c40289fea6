"""Floor 3: from structures to labelled images. Lengths are in pixels, heights relative to the main column."""
