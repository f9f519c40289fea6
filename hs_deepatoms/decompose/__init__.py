"""Floor 2: samples x features -> components, scores and classes. Knows arrays, neither images nor atoms."""
