"""`inlay train`, `inlay check` and `inlay config`: arguments, their checks, and the commands."""
