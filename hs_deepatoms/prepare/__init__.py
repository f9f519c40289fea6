"""Floor 2: what a frame needs before it meets a network: masks, robust scaling, column width, resampling."""
