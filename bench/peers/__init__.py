"""Servers that others would use, asked the same as ours."""
