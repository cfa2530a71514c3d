"""The `fadeout` command: one file per group of verbs."""
