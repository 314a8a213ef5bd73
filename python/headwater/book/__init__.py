"""The rules of money: pure functions over what the ledger holds. No clock, no float, no SQL."""
