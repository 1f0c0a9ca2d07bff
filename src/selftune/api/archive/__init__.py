"""Objects of an archived account under their old ids, beside this server's own."""
