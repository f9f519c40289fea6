"""Floor 3: patches cut around atoms or grid nodes, and what describes them whatever their rotation."""
