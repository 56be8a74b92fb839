"""Many models on a user's own pictures and machine: measured, summed up, shown on one page."""
