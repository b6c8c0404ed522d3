"""The miniature generators of pictures and clips: autoencoder, text encoder and U-Net."""
