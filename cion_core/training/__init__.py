"""What every training shares: the loop, checkpoints, schedules, samplers, precision, processes,
ending early.
"""
