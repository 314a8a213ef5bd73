"""A whole system under load, and what it is loaded with."""
