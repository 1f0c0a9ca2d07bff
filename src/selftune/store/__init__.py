"""Everything that touches disk: the database, blobs and run folders."""
