"""The miniature CLAP and AudioLDM: spectrograms, vocoder, matching of sounds and texts."""
