"""Where rows come from: places, packing, JSON."""
