"""``inlay plot``: the curves and figures of a run, and sample answers, as one picture."""
