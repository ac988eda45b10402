"""The command line of flowbridge: commands and their rendering, nothing else."""
