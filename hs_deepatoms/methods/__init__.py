"""Floor 4: one file per verb. Signal in, rooms below, labelled result out."""
