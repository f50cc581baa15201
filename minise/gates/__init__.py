"""What the gates of SE blocks do: over a data set, by class and by depth, and drawn."""
