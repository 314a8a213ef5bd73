"""What records, outcomes and reasons are: types and tables, no input or output."""
