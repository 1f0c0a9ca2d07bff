"""Which texts say the same, or nearly."""
