"""Media: untrusted files become pictures, sounds and clips, within one budget; square pictures; digests."""
