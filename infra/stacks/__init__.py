"""One module for each stack."""
