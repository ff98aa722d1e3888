"""What every training shares, from the loop and its checkpoints to samplers and schedules."""
