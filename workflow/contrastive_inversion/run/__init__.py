"""The command line, one job, the checks before and after."""
