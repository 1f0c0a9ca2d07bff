"""Model + items -> scored answers, with error bars."""
