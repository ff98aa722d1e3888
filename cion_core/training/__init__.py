"""What every training shares: the loop, checkpoints, schedules, samplers, precision, several processes, ending early."""
