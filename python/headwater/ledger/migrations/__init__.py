"""Steps from an empty database to the schema, one file a revision."""
