"""What clients were promised."""
