"""Pictures: pixels, files, grids of pictures, maps of edges."""
