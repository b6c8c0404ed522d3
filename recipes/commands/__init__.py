"""The commands of `inlay`; each loads its heavy libraries after its arguments have been checked."""
