"""What a run folder has to show: its page, its figures, its gates."""
