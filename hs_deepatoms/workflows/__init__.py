"""Floor 4: longer jobs built from the rooms below, such as training the shipped models."""
