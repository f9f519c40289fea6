"""Floor 3: from pixels to columns. Kernels on arrays and tensors; positions in pixels, separate y and x."""
