"""Media: files that nobody vouches for become pictures, sounds and clips; squares of pictures, digests."""
