"""`cion identify`: from videos to who is who, in one call, without a project around it."""
