"""The identity graph against its peers: `python -m bench.identity.run`."""
