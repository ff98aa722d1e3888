"""`cion doctor`: what this installation has, what is wrong with it, and what to do about it."""
