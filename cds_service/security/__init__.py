"""Who may call us, where we may call, and what is proved by a signature."""
