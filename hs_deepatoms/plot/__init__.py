"""Floor 4: pictures of tables: overlays, HyperSpy markers, editing by hand."""
