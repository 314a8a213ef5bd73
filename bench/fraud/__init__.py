"""How well fraud scoring finds what is known to be fraud, and what it costs the honest."""
