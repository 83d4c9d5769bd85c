"""Plans and answers queries over rollups."""
