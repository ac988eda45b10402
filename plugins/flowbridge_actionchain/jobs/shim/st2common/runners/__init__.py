"""What scripts are built on."""
