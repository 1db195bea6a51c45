"""Trains the motion networks: motion bank, virtual scenes, noise, losses, and the training itself."""
