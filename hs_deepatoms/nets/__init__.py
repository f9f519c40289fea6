"""Floor 1: ``torch.nn.Module``s only."""
