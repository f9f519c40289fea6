"""Floor 3: autoencoders whose latents do not depend on how a patch is turned, shifted or scaled."""
