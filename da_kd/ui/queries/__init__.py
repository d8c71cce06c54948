"""What the pages show, read from the disk: plain values, without gradio, so that each can be tested alone."""
