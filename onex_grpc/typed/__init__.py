"""What generated modules import, and nothing else: its names keep their meaning within a level."""
