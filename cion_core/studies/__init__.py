"""Studies: the pipeline at several points of one setting, over seeds, as a table and a picture."""
