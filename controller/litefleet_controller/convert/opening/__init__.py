"""Sources, opened: looked through before they are loaded, loaded, and frozen into one form."""
