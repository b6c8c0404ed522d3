"""The commands of `inlay`; each imports heavy libraries after checking its arguments."""
