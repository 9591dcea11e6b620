"""What is written: names, tables, pictures."""
