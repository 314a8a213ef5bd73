"""The public listener: a request becomes a record, and is answered when that is safe."""
