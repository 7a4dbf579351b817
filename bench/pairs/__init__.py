"""The working tree against an older commit: rates of both sides in alternating pairs."""
