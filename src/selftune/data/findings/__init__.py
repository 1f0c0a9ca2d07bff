"""What is looked for inside texts: secrets, personal data, damage."""
