"""Drills: what may break is broken on purpose in a copy of the home, and what the platform then does is looked at."""
