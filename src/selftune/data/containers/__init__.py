"""One file for each way in which rows are packed."""
