"""What each setting of the RVQ autoencoder changes."""
